// Follows operations of the demo by google-gax.
//
// Its arguments are the address of a gateway, a directory of .proto files, and what to do, which is a
// function below. It prints a line of JSON for each thing that it learns.
const { connect, failure, print } = require("./gax.js");

const PACKAGE = "lro_gateway.demo.v1";
const FILE = "lro_gateway/demo/v1/database_admin.proto";
const [address, directory, wanted] = process.argv.slice(2);
const { operations, starting } = connect(
  ...[address, directory, FILE, `${PACKAGE}.DatabaseAdmin`, "databases/*"],
);
const createDatabase = starting(
  ...["createDatabase", `${PACKAGE}.Database`, `${PACKAGE}.CreateDatabaseMetadata`],
);
const checkDatabase = starting(
  ...["checkDatabase", `${PACKAGE}.CheckReport`, `${PACKAGE}.CheckDatabaseMetadata`],
);

const todo = {
  // Awaits the end of an operation that runs at first, then lists and deletes it.
  async follow() {
    const [operation] = await createDatabase({ databaseId: "orders", rowCount: 100 });
    print({ done: operation.done, total: Number(operation.metadata.totalRows) });
    const [database, metadata, last] = await operation.promise();
    print({ name: database.name, rows: Number(database.rowCount), phase: metadata.phase });
    const [listed] = await operations.listOperations({ name: "databases/orders" });
    print(listed.map((each) => [each.name === last.name, each.done]));
    await operations.deleteOperation({ name: last.name });
    print(await failure(operations.getOperation({ name: last.name })));
  },

  // Cancels an operation that runs, and awaits its error.
  async cancel() {
    const [operation] = await createDatabase({ databaseId: "orders", rowCount: 100 });
    await operation.cancel();
    print(await failure(operation.promise()));
  },

  // Prints the error of a start that is refused, and of an operation that fails.
  async fail() {
    print(await failure(createDatabase({ databaseId: "No" })));
    const [operation] = await checkDatabase({ name: "databases/damaged" });
    print(await failure(operation.promise()));
  },
};

todo[wanted]();
