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

function operation(name, machine) {
  return {
    name,
    metadata: {
      // protobufjs reads the fields under both names, by keepCase.
      typeUrl: "type.googleapis.com/factory.v1.Machine",
      type_url: "type.googleapis.com/factory.v1.Machine",
      value: definition["factory.v1.Factory"].GetMachine.responseSerialize(machine),
    },
  };
}

// The only operation, whose metadata is the machine of the last request.
let machine = {};
server.addService(services.factory.v1.Factory.service, {
  BuildMachine: (call, callback) => {
    machine = call.request.machine;
    callback(null, operation("operations/1", machine));
  },
});
server.addService(services.google.longrunning.Operations.service, {
  GetOperation: (call, callback) => callback(null, operation(call.request.name, machine)),
});
new ReflectionService(definition).addToServer(server);
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(port);
});
