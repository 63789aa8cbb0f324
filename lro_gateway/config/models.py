"""The configuration as pydantic models: one for each kind of table in the file."""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from typing import Final, Literal

from pydantic import Field, model_validator

from lro_gateway.access.ownership import Visibility
from lro_gateway.config.audit import AuditConfig
from lro_gateway.config.auth import AuthConfig
from lro_gateway.config.credentials import CredentialsConfig, PassedHeader
from lro_gateway.config.deliveries import DeliveriesConfig
from lro_gateway.config.hosts import AllowedHost, AllowedOrigin
from lro_gateway.config.limits import LimitsConfig
from lro_gateway.config.logs import LogsConfig
from lro_gateway.config.mcp import McpConfig
from lro_gateway.config.policy import RuleConfig
from lro_gateway.config.proxies import RootPath, TrustedProxy
from lro_gateway.config.secrets import CallMetadata, Key
from lro_gateway.config.server_tls import ServerTlsConfig
from lro_gateway.config.store import StoreConfig
from lro_gateway.config.tables import Table
from lro_gateway.config.targets import is_local
from lro_gateway.config.values import (
    Approval,
    ApprovalLifetime,
    BaggageKey,
    Description,
    DescriptorNames,
    ExistingFile,
    ExpectedTime,
    Host,
    MethodPattern,
    Name,
    Operations,
    PositiveDuration,
    ProgressField,
    ShortDuration,
    Target,
    WaitDuration,
)
from lro_gateway.descriptors.elements import MAX_ELEMENTS
from lro_gateway.service.approval_rules import LIFETIME
from lro_gateway.service.waiting import MAX_WAIT


class TlsConfig(Table):
    """TLS to a backend; an empty table means TLS with the system's root certificates."""

    ca: ExistingFile | None = None
    cert: ExistingFile | None = None
    key: ExistingFile | None = None
    server_name: str | None = None

    @model_validator(mode="after")
    def _check_pair(self) -> TlsConfig:
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key must be set together, and one of them is missing")
        return self


class HintsConfig(Table):
    """The effects of a method. They are needed if the name of the method does not show them."""

    read_only: bool | None = None
    destructive: bool | None = None
    idempotent: bool | None = None


class BackendConfig(Table):
    """One entry of `[[backends]]`, which describes one gRPC backend."""

    name: Name
    former_names: tuple[Name, ...] = ()
    target: Target
    description: Description = ""
    operations: Operations = ()
    former_operations: Operations = ()
    descriptors: DescriptorNames = ("reflection",)
    list_name: Literal["parent", "collection"] = "parent"
    default_parent: str = ""
    max_page_size: int = Field(default=1000, ge=1, le=2**31 - 1, strict=True)
    deadline: PositiveDuration = timedelta(seconds=10)
    keepalive: PositiveDuration = timedelta(seconds=60)
    keepalive_timeout: PositiveDuration = timedelta(seconds=10)
    methods: tuple[MethodPattern, ...] = ()
    exclude_methods: tuple[MethodPattern, ...] = ()
    confirm: tuple[MethodPattern, ...] = ()
    approval: Approval = ()
    approval_expires: ApprovalLifetime = LIFETIME
    self_approval: bool = Field(default=False, strict=True)
    hints: dict[MethodPattern, HintsConfig] = Field(default_factory=dict)
    request_ids: tuple[MethodPattern, ...] = ()
    journal_requests: tuple[MethodPattern, ...] = ()
    visibility: Visibility = "all"
    expected_times: dict[MethodPattern, ExpectedTime] = Field(default_factory=dict)
    poll_intervals: tuple[PositiveDuration, PositiveDuration, PositiveDuration] = (
        timedelta(seconds=1),
        timedelta(seconds=5),
        timedelta(seconds=30),
    )
    max_watches: int = Field(default=10_000, ge=1, le=2**31 - 1, strict=True)
    polls_per_second: float = Field(default=100.0, gt=0, le=10_000)
    freshness: ShortDuration = timedelta(milliseconds=200)
    progress_fields: tuple[ProgressField, ...] = ()
    baggage: tuple[BaggageKey, ...] = ()
    pass_headers: tuple[PassedHeader, ...] = ()
    descriptor_refresh: PositiveDuration = timedelta(minutes=5)
    discovery_wait: PositiveDuration = timedelta(seconds=10)
    max_descriptor_files: int = Field(default=20_000, ge=1, strict=True)
    max_descriptor_bytes: int = Field(default=64 * 1024 * 1024, ge=1, strict=True)
    max_services: int = Field(default=5_000, ge=1, strict=True)
    max_methods: int = Field(default=20_000, ge=1, strict=True)
    max_concurrent_calls: int = Field(default=1000, ge=1, le=100_000, strict=True)
    max_queued_calls: int = Field(default=1000, ge=0, le=100_000, strict=True)
    max_call_share: float = Field(default=0.5, gt=0, le=1)
    max_message_bytes: int = Field(default=4 * 1024 * 1024, ge=1024, le=2**31 - 1, strict=True)
    max_message_elements: int = Field(default=MAX_ELEMENTS, ge=1000, le=2**31 - 1, strict=True)
    max_metadata_bytes: int = Field(default=4 * 1024 * 1024, ge=8192, le=2**31 - 1, strict=True)
    metadata: CallMetadata = Field(default_factory=dict)
    credentials: CredentialsConfig | None = None
    tls: TlsConfig | None = None

    @model_validator(mode="after")
    def _check_credentials(self) -> BackendConfig:
        if twice := set(self.metadata) & set(self.pass_headers):
            raise ValueError(f"pass_headers: metadata has {min(twice)} already; remove one of them")
        if self.credentials is None:
            return self
        if "authorization" in self.metadata:
            raise ValueError("metadata has authorization already; remove it, or credentials")
        if not (self.tls or is_local(self.target) or self.credentials.allow_plaintext):
            raise ValueError(
                "credentials would go over the network without encryption: set tls = {}, or"
                " credentials.allow_plaintext = true"
            )
        return self


class ServerConfig(Table):
    """The `[server]` table: the address to listen at, and the limits for requests."""

    host: Host = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535, strict=True)
    allowed_hosts: tuple[AllowedHost, ...] = ()
    allowed_origins: tuple[AllowedOrigin, ...] = ()
    trusted_proxies: tuple[TrustedProxy, ...] = ()
    root_path: RootPath = ""
    max_body_bytes: int = Field(default=4 * 1024 * 1024, ge=1024, strict=True)
    sync_grace: ShortDuration = timedelta(seconds=1)
    default_wait: WaitDuration = MAX_WAIT
    keys: tuple[Key, ...] = ()
    read_only: bool = Field(default=False, strict=True)
    tls: ServerTlsConfig | None = None

    @property
    def scheme(self) -> Literal["http", "https"]:
        """The scheme of the gateway's own URLs."""
        return "http" if self.tls is None else "https"

    @property
    def address(self) -> str:
        """The address to listen at as `host:port`, such as `[::1]:8080`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only clients on this machine can reach the address."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def has_exact_hosts(self) -> bool:
        """Whether a request can have only the hosts that the settings name."""
        hosts = self.allowed_hosts
        return bool(hosts or self.is_loopback) and not any(each.is_pattern for each in hosts)


NEEDS_STORE: Final = (
    'a backend\'s visibility other than "all" needs a store, which knows who started what; give'
    " store.url a URL"
)


class GatewayConfig(Table):
    """A whole configuration file."""

    server: ServerConfig = ServerConfig()
    limits: LimitsConfig = LimitsConfig()
    mcp: McpConfig = McpConfig()
    logs: LogsConfig = LogsConfig()
    store: StoreConfig = StoreConfig()
    deliveries: DeliveriesConfig = DeliveriesConfig()
    auth: AuthConfig | None = None
    policy: tuple[RuleConfig, ...] = ()
    audit: AuditConfig = AuditConfig()
    backends: tuple[BackendConfig, ...] = ()

    @property
    def needs_owners(self) -> bool:
        """Whether a backend shows operations only to the callers or tenants that started them."""
        return self._hiding is not None

    @property
    def _hiding(self) -> BackendConfig | None:
        return next((each for each in self.backends if each.visibility != "all"), None)

    @model_validator(mode="after")
    def _check_former_names(self) -> GatewayConfig:
        """Require that a former name leads to one backend."""
        taken = {each.name for each in self.backends}
        for backend in self.backends:
            for name in backend.former_names:
                if name in taken:
                    raise ValueError(
                        f"former_names of backend {backend.name}: {name!r} is the name, or a former"
                        " name, of a backend already; remove one of them"
                    )
                taken.add(name)
        return self

    @model_validator(mode="after")
    def _check_former_operations(self) -> GatewayConfig:
        """Require that a name by a former pattern leads to one operation."""
        taken = [(each, pattern) for each in self.backends for pattern in each.operations]
        for backend in self.backends:
            for former in backend.former_operations:
                for other, pattern in taken:
                    if former.gateway.overlaps(pattern.gateway):
                        raise ValueError(
                            f"former_operations of backend {backend.name}: a name may match"
                            f" {former.gateway.text!r} and {pattern.gateway.text!r} of backend"
                            f" {other.name}, so nobody can tell what it meant before; remove one"
                            " of them"
                        )
                taken.append((backend, former))
        return self

    @model_validator(mode="after")
    def _check_visibility(self) -> GatewayConfig:
        """Require callers, and a store that knows what they have started, where it matters."""
        hiding = self._hiding
        if hiding is not None and self.auth is None:
            raise ValueError(
                f'visibility = "{hiding.visibility}" of backend {hiding.name} needs the table'
                " [auth], because without callers nobody owns anything"
            )
        if hiding is not None and self.store.is_none:
            raise ValueError(NEEDS_STORE)
        return self

    @model_validator(mode="after")
    def _check_certificates(self) -> GatewayConfig:
        """Require that the handshake verifies certificates if they identify callers."""
        tls = self.server.tls
        if self.auth is None or self.auth.certificates is None:
            return self
        if tls is None or tls.client_ca is None:
            raise ValueError(
                "auth.certificates needs server.tls with client_ca, whose authorities sign them"
            )
        return self

    @model_validator(mode="after")
    def _check_audience(self) -> GatewayConfig:
        """Require the gateway's own address if anyone could choose it by the Host of a request."""
        if self.auth is None or self.auth.resource or self.server.has_exact_hosts:
            return self
        if any(not each.audience for each in self.auth.issuers):
            raise ValueError(
                "auth.resource is missing; it is the public URL of the gateway, and a token must be"
                " for that audience; without it, each of server.allowed_hosts must be one host"
            )
        return self
