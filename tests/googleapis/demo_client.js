// Follows operations of the demo by google-gax, from the demo's own .proto files, as a generated client does.
//
// Its arguments are the address of a gateway, a directory of .proto files, and what to do, which is a
// function below. It prints a line of JSON for each thing that it learns.
const path = require("path");
const { OAuth2Client } = require("google-auth-library");
const { fallback: gax, protobuf } = require("google-gax");

const SERVICE = "lro_gateway.demo.v1.DatabaseAdmin";
const PACKAGE = "lro_gateway.demo.v1";
const [address, directory, wanted] = process.argv.slice(2);
const url = new URL(address);
const authClient = new OAuth2Client();
authClient.credentials = { access_token: "none", expiry_date: Date.now() + 3600000 };
const options = {
  fallback: true,
  protocol: url.protocol.slice(0, -1),
  servicePath: url.hostname,
  port: Number(url.port),
  authClient,
};

const published = path.join(path.dirname(require.resolve("google-gax")), "..", "protos");
const root = new protobuf.Root();
root.resolvePath = (_, file) =>
  path.join(file.startsWith("lro_gateway/") ? directory : published, file);
// google-gax cannot read an operation whose error has details of types that are not loaded.
root.loadSync(["lro_gateway/demo/v1/database_admin.proto", "google/rpc/error_details.proto"]);
root.resolveAll();

// A service's configuration gives the Operations service the paths of the names that it has.
const name = "databases/*/operations/*";
const httpRules = [
  { selector: "google.longrunning.Operations.GetOperation", get: `/v1/{name=${name}}` },
  { selector: "google.longrunning.Operations.DeleteOperation", delete: `/v1/{name=${name}}` },
  { selector: "google.longrunning.Operations.CancelOperation", post: `/v1/{name=${name}}:cancel` },
  {
    selector: "google.longrunning.Operations.ListOperations",
    get: "/v1/{name=databases/*}/operations",
  },
];
const operations = gax
  .lro({ ...options, protoJson: root, httpRules })
  .operationsClient(options);
const client = new gax.GrpcClient({ ...options, numericEnums: true, minifyJson: true });
const stub = client.createStub(root.lookupService(SERVICE), options);

// Returns a function that starts operations, which have a response of this type.
function starting(method, response) {
  const types = [response, `${method[0].toUpperCase()}${method.slice(1)}Metadata`];
  const [result, metadata] = types.map((each) => root.lookupType(`${PACKAGE}.${each}`));
  const descriptor = new gax.LongrunningDescriptor(
    operations,
    result.decode.bind(result),
    metadata.decode.bind(metadata),
  );
  const call = stub.then((found) => (...args) => found[method](...args));
  const settings = new gax.CallSettings({ timeout: 10000, longrunning: backoff });
  return gax.createApiCall(call, settings, descriptor, true);
}

const backoff = gax.createDefaultBackoffSettings();
const createDatabase = starting("createDatabase", "Database");
const checkDatabase = starting("checkDatabase", "CheckReport");

function print(value) {
  console.log(JSON.stringify(value));
}

async function failure(promise) {
  const { code, reason, domain, message } = await promise.then(
    () => ({ message: "it succeeded" }),
    (error) => error,
  );
  return { code, reason, domain, message };
}

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
