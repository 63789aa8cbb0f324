// Shows the operations as they change, from the gateway's own stream of events.
"use strict";

const SHOWN = 100;
const state = new URLSearchParams(location.search).get("state") ?? "";
const rows = new Map();
const body = document.getElementById("rows");
const connection = document.getElementById("connection");
const notice = document.getElementById("notice");

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// How long ago a time was, in one unit.
function since(time) {
  if (!time) return "";
  const seconds = Math.max(0, (Date.now() - Date.parse(time)) / 1000);
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]])
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  return `${Math.floor(seconds)} s`;
}

function ago(time) {
  return time ? `${since(time)} ago` : "";
}

// A text of a service is only ever set as text, so it cannot become a part of the page.
function filled(row, operation) {
  const { name, summary, error } = operation;
  const address = `v1/-?${new URLSearchParams({ name, summary: "true" })}`;
  const said = error ? error.message : summary.state === "running" ? summary.statusText : "";
  const percent = element("span", { textContent: summary.percent === undefined ? "" : `${Math.round(summary.percent)}%` });
  const bar = element("progress", { max: 100, ariaLabel: `Progress of ${name}` });
  if (summary.percent !== undefined) bar.value = summary.percent;
  const shows = summary.state === "running" || summary.percent !== undefined;
  const action = element("td");
  if (summary.state === "running") {
    const button = element("button", { textContent: "Cancel", ariaLabel: `Cancel ${name}` });
    button.addEventListener("click", () => ask(name));
    action.append(button);
  }
  row.replaceChildren(
    element("td", { className: "name" }, element("a", { href: address, textContent: name })),
    element("td", { textContent: summary.kind ?? "" }),
    element("td", {},
      element("strong", { className: summary.state, textContent: summary.state }),
      element("small", { textContent: said ?? "" })),
    element("td", { className: "number" }, ...(shows ? [bar, percent] : [])),
    element("td", { className: "number", title: summary.createTime ?? "", textContent: since(summary.createTime) }),
    element("td", { className: "number", title: summary.updateTime ?? "", textContent: ago(summary.updateTime) }),
    action);
}

function show(operation) {
  const { name, summary } = operation;
  const known = rows.get(name);
  if (state && summary.state !== state) {
    known?.row.remove();
    rows.delete(name);
    return;
  }
  const row = known?.row ?? element("tr");
  const focused = row.contains(document.activeElement);
  filled(row, operation);
  if (focused) row.querySelector("button, a")?.focus();
  rows.set(name, { row, operation });
  if (!known) place(row, summary.createTime ?? "");
}

// The newest operations come first.
function place(row, time) {
  row.dataset.time = time;
  const later = [...body.children].find((each) => each.dataset.time < time);
  body.insertBefore(row, later ?? null);
}

function tell(text) {
  if (connection.textContent !== text) connection.textContent = text;
}

function count() {
  const shown = state ? `${state} operations` : "operations";
  tell(rows.size ? `${rows.size} ${shown}, live` : `No ${shown} yet; the list is live`);
}

// The button that agrees calls for the operation of the latest question. The dialog closes by itself.
function ask(name) {
  document.getElementById("asked").textContent = `Cancel ${name}?`;
  document.getElementById("agree").onclick = () => cancel(name);
  document.getElementById("question").showModal();
}

async function cancel(name) {
  try {
    const answer = await fetch(`v1/-:cancel?${new URLSearchParams({ name })}`, {
      method: "POST",
      // The person has agreed in the dialog.
      headers: { "lro-gateway-confirmed": "true" },
    });
    const refused = answer.ok ? null : await answer.json();
    notice.textContent = refused
      ? `${name} is not cancelled: ${refused.error.message}`
      : `The cancellation of ${name} is requested`;
  } catch (error) {
    notice.textContent = `${name} is not cancelled: ${error.message}`;
  }
}

function follow() {
  const query = new URLSearchParams({ summary: "true", pageSize: SHOWN, fields: "name,summary,error(message)" });
  if (state) query.set("state", state);
  const events = new EventSource(`v1/operations:watch?${query}`);
  events.addEventListener("open", count);
  events.addEventListener("operation", (event) => {
    show(JSON.parse(event.data));
    count();
  });
  events.addEventListener("status", (event) => tell(JSON.parse(event.data).error.message));
  events.addEventListener("error", () => {
    tell("The connection is lost; it is opened again");
    // After an answer that is no stream, such as a refusal, the browser does not try again.
    if (events.readyState === EventSource.CLOSED) setTimeout(follow, 5000);
  });
}

document.getElementById("mcp").textContent = new URL("mcp", document.baseURI).href;
for (const link of document.querySelectorAll("#states a"))
  if ((new URL(link.href).searchParams.get("state") ?? "") === state) link.setAttribute("aria-current", "page");
setInterval(() => rows.forEach(({ row, operation }) => {
  const [, , , , age, changed] = row.children;
  age.textContent = since(operation.summary.createTime);
  changed.textContent = ago(operation.summary.updateTime);
}), 1000);
follow();
