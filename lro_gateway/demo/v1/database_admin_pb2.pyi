import datetime

from google.api import annotations_pb2 as _annotations_pb2
from google.api import client_pb2 as _client_pb2
from google.api import field_behavior_pb2 as _field_behavior_pb2
from google.api import field_info_pb2 as _field_info_pb2
from google.api import resource_pb2 as _resource_pb2
from google.longrunning import operations_pb2 as _operations_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Database(_message.Message):
    __slots__ = ("name", "state", "row_count", "size_bytes", "update_time")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Database.State]
        READY: _ClassVar[Database.State]
        UNREADABLE: _ClassVar[Database.State]
    STATE_UNSPECIFIED: Database.State
    READY: Database.State
    UNREADABLE: Database.State
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: Database.State
    row_count: int
    size_bytes: int
    update_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[Database.State, str]] = ..., row_count: _Optional[int] = ..., size_bytes: _Optional[int] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Backup(_message.Message):
    __slots__ = ("name", "size_bytes", "create_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    size_bytes: int
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., size_bytes: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CreateDatabaseRequest(_message.Message):
    __slots__ = ("database_id", "row_count", "request_id")
    DATABASE_ID_FIELD_NUMBER: _ClassVar[int]
    ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    database_id: str
    row_count: int
    request_id: str
    def __init__(self, database_id: _Optional[str] = ..., row_count: _Optional[int] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateDatabaseMetadata(_message.Message):
    __slots__ = ("create_time", "end_time", "progress_percent", "phase", "rows_inserted", "total_rows")
    class Phase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        PHASE_UNSPECIFIED: _ClassVar[CreateDatabaseMetadata.Phase]
        CREATING_TABLES: _ClassVar[CreateDatabaseMetadata.Phase]
        INSERTING_ORDERS: _ClassVar[CreateDatabaseMetadata.Phase]
        INDEXING: _ClassVar[CreateDatabaseMetadata.Phase]
    PHASE_UNSPECIFIED: CreateDatabaseMetadata.Phase
    CREATING_TABLES: CreateDatabaseMetadata.Phase
    INSERTING_ORDERS: CreateDatabaseMetadata.Phase
    INDEXING: CreateDatabaseMetadata.Phase
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_PERCENT_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    ROWS_INSERTED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_ROWS_FIELD_NUMBER: _ClassVar[int]
    create_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    progress_percent: int
    phase: CreateDatabaseMetadata.Phase
    rows_inserted: int
    total_rows: int
    def __init__(self, create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., progress_percent: _Optional[int] = ..., phase: _Optional[_Union[CreateDatabaseMetadata.Phase, str]] = ..., rows_inserted: _Optional[int] = ..., total_rows: _Optional[int] = ...) -> None: ...

class GetDatabaseRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListDatabasesRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListDatabasesResponse(_message.Message):
    __slots__ = ("databases", "next_page_token")
    DATABASES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    databases: _containers.RepeatedCompositeFieldContainer[Database]
    next_page_token: str
    def __init__(self, databases: _Optional[_Iterable[_Union[Database, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class BackupDatabaseRequest(_message.Message):
    __slots__ = ("name", "backup_id", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    BACKUP_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    backup_id: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., backup_id: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class BackupDatabaseMetadata(_message.Message):
    __slots__ = ("create_time", "end_time", "progress_percent", "pages_copied", "total_pages")
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_PERCENT_FIELD_NUMBER: _ClassVar[int]
    PAGES_COPIED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_PAGES_FIELD_NUMBER: _ClassVar[int]
    create_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    progress_percent: int
    pages_copied: int
    total_pages: int
    def __init__(self, create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., progress_percent: _Optional[int] = ..., pages_copied: _Optional[int] = ..., total_pages: _Optional[int] = ...) -> None: ...

class ListBackupsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListBackupsResponse(_message.Message):
    __slots__ = ("backups", "next_page_token")
    BACKUPS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    backups: _containers.RepeatedCompositeFieldContainer[Backup]
    next_page_token: str
    def __init__(self, backups: _Optional[_Iterable[_Union[Backup, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ExportQueryRequest(_message.Message):
    __slots__ = ("database", "query", "format", "request_id")
    class Format(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        FORMAT_UNSPECIFIED: _ClassVar[ExportQueryRequest.Format]
        CSV: _ClassVar[ExportQueryRequest.Format]
        JSON_LINES: _ClassVar[ExportQueryRequest.Format]
    FORMAT_UNSPECIFIED: ExportQueryRequest.Format
    CSV: ExportQueryRequest.Format
    JSON_LINES: ExportQueryRequest.Format
    DATABASE_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    database: str
    query: str
    format: ExportQueryRequest.Format
    request_id: str
    def __init__(self, database: _Optional[str] = ..., query: _Optional[str] = ..., format: _Optional[_Union[ExportQueryRequest.Format, str]] = ..., request_id: _Optional[str] = ...) -> None: ...

class ExportQueryMetadata(_message.Message):
    __slots__ = ("create_time", "end_time", "progress_percent", "phase", "rows_written", "total_rows")
    class Phase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        PHASE_UNSPECIFIED: _ClassVar[ExportQueryMetadata.Phase]
        COUNTING: _ClassVar[ExportQueryMetadata.Phase]
        WRITING: _ClassVar[ExportQueryMetadata.Phase]
    PHASE_UNSPECIFIED: ExportQueryMetadata.Phase
    COUNTING: ExportQueryMetadata.Phase
    WRITING: ExportQueryMetadata.Phase
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_PERCENT_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    ROWS_WRITTEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_ROWS_FIELD_NUMBER: _ClassVar[int]
    create_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    progress_percent: int
    phase: ExportQueryMetadata.Phase
    rows_written: int
    total_rows: int
    def __init__(self, create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., progress_percent: _Optional[int] = ..., phase: _Optional[_Union[ExportQueryMetadata.Phase, str]] = ..., rows_written: _Optional[int] = ..., total_rows: _Optional[int] = ...) -> None: ...

class ExportQueryResponse(_message.Message):
    __slots__ = ("file", "row_count", "size_bytes", "sha256")
    FILE_FIELD_NUMBER: _ClassVar[int]
    ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    file: str
    row_count: int
    size_bytes: int
    sha256: str
    def __init__(self, file: _Optional[str] = ..., row_count: _Optional[int] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ...) -> None: ...

class CheckDatabaseRequest(_message.Message):
    __slots__ = ("name", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class CheckDatabaseMetadata(_message.Message):
    __slots__ = ("create_time", "end_time", "progress_percent", "phase", "tables_checked", "total_tables", "problems_found")
    class Phase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        PHASE_UNSPECIFIED: _ClassVar[CheckDatabaseMetadata.Phase]
        CHECKING_TABLES: _ClassVar[CheckDatabaseMetadata.Phase]
        CHECKING_FILE: _ClassVar[CheckDatabaseMetadata.Phase]
    PHASE_UNSPECIFIED: CheckDatabaseMetadata.Phase
    CHECKING_TABLES: CheckDatabaseMetadata.Phase
    CHECKING_FILE: CheckDatabaseMetadata.Phase
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_PERCENT_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    TABLES_CHECKED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_TABLES_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FOUND_FIELD_NUMBER: _ClassVar[int]
    create_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    progress_percent: int
    phase: CheckDatabaseMetadata.Phase
    tables_checked: int
    total_tables: int
    problems_found: int
    def __init__(self, create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., progress_percent: _Optional[int] = ..., phase: _Optional[_Union[CheckDatabaseMetadata.Phase, str]] = ..., tables_checked: _Optional[int] = ..., total_tables: _Optional[int] = ..., problems_found: _Optional[int] = ...) -> None: ...

class CheckReport(_message.Message):
    __slots__ = ("name", "tables", "page_count")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TABLES_FIELD_NUMBER: _ClassVar[int]
    PAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    name: str
    tables: _containers.RepeatedScalarFieldContainer[str]
    page_count: int
    def __init__(self, name: _Optional[str] = ..., tables: _Optional[_Iterable[str]] = ..., page_count: _Optional[int] = ...) -> None: ...

class DamageReport(_message.Message):
    __slots__ = ("name", "problems")
    class Problem(_message.Message):
        __slots__ = ("table", "description")
        TABLE_FIELD_NUMBER: _ClassVar[int]
        DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
        table: str
        description: str
        def __init__(self, table: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    name: str
    problems: _containers.RepeatedCompositeFieldContainer[DamageReport.Problem]
    def __init__(self, name: _Optional[str] = ..., problems: _Optional[_Iterable[_Union[DamageReport.Problem, _Mapping]]] = ...) -> None: ...
