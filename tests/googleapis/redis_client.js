// Starts operations by Google's client for Redis, which google-gax runs, and prints what it returns.
const { OAuth2Client } = require("google-auth-library");
const { CloudRedisClient } = require("@google-cloud/redis").v1;

const url = new URL(process.argv[2]);
const parent = process.argv[3];
const authClient = new OAuth2Client();
authClient.credentials = { access_token: "none", expiry_date: Date.now() + 3600000 };
const client = new CloudRedisClient({
  fallback: true,
  protocol: "http",
  apiEndpoint: url.hostname,
  port: Number(url.port),
  numericEnums: true,
  minifyJson: true,
  authClient,
});

async function start(instanceId) {
  const instance = { tier: "BASIC", memorySizeGb: 1 };
  const [operation] = await client.createInstance({ parent, instanceId, instance });
  return operation;
}

async function main() {
  const first = await start("first");
  const [instance] = await first.promise();
  const second = await start("second");
  const listed = [];
  for await (const each of client.listOperationsAsync({ name: parent, autoPaginate: false })) {
    listed.push([each.name, each.done]);
  }
  await client.cancelOperation({ name: second.name });
  const error = await second.promise().catch((raised) => raised);
  console.log(JSON.stringify({ result: instance.name, listed, code: error.code }));
}

main();
