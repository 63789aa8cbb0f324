// Serves protobuf services with the reflection of Node.js, @grpc/reflection.
//
// Its arguments are a directory, whether names of fields keep their case, and the names of .proto files
// in the directory. It prints its port.
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");
const { ReflectionService } = require("@grpc/reflection");

const [directory, keepCase, ...files] = process.argv.slice(2);
const definition = loader.loadSync(files, {
  includeDirs: [directory],
  keepCase: keepCase === "true",
});
const services = grpc.loadPackageDefinition(definition);
const server = new grpc.Server();

function packed(type, value) {
  const typeUrl = `type.googleapis.com/${type}`;
  // protobufjs reads the fields under both names, by keepCase.
  return { typeUrl, type_url: typeUrl, value: definition[type].serialize(value) };
}

// The operations by their names. Each gets its response when it is read for the second time.
const operations = new Map();
const results = new Map();

function start(metadata, response, callback) {
  const name = `lines/1/operations/${operations.size + 1}`;
  operations.set(name, { name, metadata });
  results.set(name, { response, reads: 0 });
  callback(null, operations.get(name));
}

function known(answer) {
  return (call, callback) => {
    const operation = operations.get(call.request.name);
    if (operation) return callback(null, answer(operation));
    callback({ code: grpc.status.NOT_FOUND, details: "there is no such operation" });
  };
}

server.addService(services.factory.v1.Factory.service, {
  BuildMachine: (call, callback) => {
    if (!call.request.machine) {
      return callback({ code: grpc.status.INVALID_ARGUMENT, details: "a machine is needed" });
    }
    const machine = packed("factory.v1.Machine", call.request.machine);
    start(machine, machine, callback);
  },
  DeleteMachine: (call, callback) => {
    const metadata = packed("google.protobuf.Duration", { seconds: 3 });
    start(metadata, packed("google.protobuf.Empty", {}), callback);
  },
});
server.addService(services.google.longrunning.Operations.service, {
  GetOperation: known((operation) => {
    const { response, reads } = results.get(operation.name);
    if (!operation.done && reads) Object.assign(operation, { done: true, response });
    results.set(operation.name, { response, reads: reads + 1 });
    return operation;
  }),
  ListOperations: (call, callback) => callback(null, { operations: [...operations.values()] }),
  CancelOperation: known((operation) => {
    const error = { code: grpc.status.CANCELLED, message: "somebody cancelled it" };
    if (!operation.done) Object.assign(operation, { done: true, error });
    return {};
  }),
  DeleteOperation: known((operation) => {
    operations.delete(operation.name);
    return {};
  }),
});
new ReflectionService(definition).addToServer(server);
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(port);
});
