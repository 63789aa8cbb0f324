// Makes the client of any service from its .proto files by google-gax, as Google's generated clients do.
const path = require("path");
const { OAuth2Client } = require("google-auth-library");
const { fallback: gax, protobuf } = require("google-gax");

const SELECTOR = "google.longrunning.Operations";

function loaded(directory, file) {
  const published = path.join(path.dirname(require.resolve("google-gax")), "..", "protos");
  const root = new protobuf.Root();
  root.resolvePath = (_, each) =>
    path.join(each.startsWith("google/") ? published : directory, each);
  // google-gax cannot read an operation whose error has details of types that are not loaded.
  root.loadSync([file, "google/rpc/error_details.proto"]);
  root.resolveAll();
  return root;
}

// Returns the client of operations under `parent`, and a function that returns a method of the service.
exports.connect = (address, directory, file, service, parent) => {
  const url = new URL(address);
  const authClient = new OAuth2Client();
  authClient.credentials = { access_token: "none", expiry_date: Date.now() + 3600000 };
  const options = {
    fallback: true,
    protocol: url.protocol.slice(0, -1),
    servicePath: url.hostname,
    port: Number(url.port),
    numericEnums: true,
    minifyJson: true,
    authClient,
  };
  const root = loaded(directory, file);
  // A service's configuration gives the Operations service the paths of the names that it has.
  const name = `/v1/{name=${parent}/operations/*}`;
  const httpRules = [
    { selector: `${SELECTOR}.GetOperation`, get: name },
    { selector: `${SELECTOR}.DeleteOperation`, delete: name },
    { selector: `${SELECTOR}.CancelOperation`, post: `${name}:cancel` },
    { selector: `${SELECTOR}.ListOperations`, get: `/v1/{name=${parent}}/operations` },
  ];
  const lro = gax.lro({ ...options, protoJson: root, httpRules });
  const operations = lro.operationsClient(options);
  const stub = new gax.GrpcClient(options).createStub(root.lookupService(service), options);

  function starting(method, ...types) {
    const [result, metadata] = types.map((each) => root.lookupType(each));
    const descriptor = new gax.LongrunningDescriptor(
      operations,
      result.decode.bind(result),
      metadata.decode.bind(metadata),
    );
    const call = stub.then((found) => (...args) => found[method](...args));
    const longrunning = gax.createDefaultBackoffSettings();
    const settings = new gax.CallSettings({ timeout: 10000, longrunning });
    return gax.createApiCall(call, settings, descriptor, true);
  }
  return { operations, starting };
};

exports.print = (value) => console.log(JSON.stringify(value));

exports.failure = async (promise) => {
  const { code, reason, domain, message } = await promise.then(
    () => ({ message: "it succeeded" }),
    (error) => error,
  );
  return { code, reason, domain, message };
};
