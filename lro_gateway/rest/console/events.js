// Reads server-sent events with a token, which EventSource cannot send.
"use strict";

// Calls `opened()` when a stream begins, `take(type, data)` for each event, and `listed()` after the
// first event or comment. Opens the stream again when it ends, as EventSource does: after the time in
// `retry`, and with the last id. An answer that is no stream goes to `refused(answer)`, which returns
// the milliseconds until the next attempt, or null for none.
async function followEvents(address, { opened, listed, take, lost, refused }) {
  let retry = 1000;
  let last = "";
  for (;;) {
    let wait = retry;
    try {
      const headers = { accept: "text/event-stream", ...authorized() };
      if (last) headers["last-event-id"] = last;
      const answer = await fetch(address, { headers, cache: "no-store" });
      const type = answer.headers.get("content-type") ?? "";
      if (answer.ok && type.startsWith("text/event-stream")) {
        let isFirst = true;
        for await (const event of eventsOf(answer.body)) {
          last = event.id ?? last;
          wait = retry = event.retry ?? retry;
          if (isFirst) opened();
          if (event.data !== undefined) take(event.type, event.data);
          if (isFirst) listed();
          isFirst = false;
        }
        lost();
      } else {
        wait = await refused(answer);
        if (wait === null) return;
      }
    } catch (error) {
      lost(error);
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

// Yields the events of a body, in the form of the HTML Standard, section 9.2.6.
async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let event = {};
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      if (line) {
        fill(event, line);
      } else {
        yield { type: "message", ...event };
        event = {};
      }
    }
  }
}

function fill(event, line) {
  const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line);
  if (name === "data") event.data = event.data === undefined ? value : `${event.data}\n${value}`;
  if (name === "event") event.type = value;
  if (name === "id" && !value.includes("\0")) event.id = value;
  if (name === "retry" && /^\d+$/.test(value)) event.retry = Number(value);
}
