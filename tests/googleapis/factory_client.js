// Follows operations of the factory by google-gax. Its arguments are the address of a gateway and a
// directory of .proto files. It prints what it learns as JSON.
const { connect, failure, print } = require("./gax.js");

const MACHINE = "factory.v1.Machine";
const [address, directory] = process.argv.slice(2);
const { operations, starting } = connect(
  ...[address, directory, "factory.proto", "factory.v1.Factory", "lines/*"],
);
const buildMachine = starting("buildMachine", MACHINE, MACHINE);

async function main() {
  const request = { parent: "lines/1", machine: { title: "t", engine: { power: 5 } } };
  const [first] = await buildMachine(request);
  const [second] = await buildMachine(request);
  await second.cancel();
  const [machine] = await first.promise();
  const cancelled = await failure(second.promise());
  const [listed] = await operations.listOperations({ name: "lines/1" });
  const missing = await failure(operations.getOperation({ name: "lines/1/operations/9" }));
  print({
    power: Number(machine.engine.power),
    listed: listed.map(({ name, done }) => [name, done]),
    codes: [cancelled.code, missing.code],
  });
}

main();
