// Follows an operation by an EventSource, and prints what it is told. Node.js ends when nothing is
// left to wait for: neither a stream nor the next attempt.
const source = new EventSource(process.argv[2]);
source.addEventListener("operation", (event) => {
  const operation = JSON.parse(event.data);
  console.log(JSON.stringify({ id: event.lastEventId, done: operation.done }));
});
