// Follows an operation by an EventSource, and prints each state. Node.js ends when the EventSource
// has neither an open stream nor a planned reconnection.
const source = new EventSource(process.argv[2]);
source.addEventListener("operation", (event) => {
  const operation = JSON.parse(event.data);
  console.log(JSON.stringify({ id: event.lastEventId, done: operation.done }));
});
