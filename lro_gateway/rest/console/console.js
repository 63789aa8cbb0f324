// Shows the operations as they change, from the gateway's own stream of events.
"use strict";

const SHOWN = 100;
const state = new URLSearchParams(location.search).get("state") ?? "";
const rows = new Map();
const body = document.getElementById("rows");
const connection = document.getElementById("connection");
const notice = document.getElementById("notice");
const missing = document.getElementById("missing");

// A text of a service is only ever set as text, so it cannot become a part of the page.
function filled(row, operation) {
  const { name, summary, error } = operation;
  const shown = visible(name);
  const address = `v1/-?${new URLSearchParams({ name, summary: "true" })}`;
  const said = error ? error.message : summary.state === "running" ? summary.statusText : "";
  const percent = element("span", { textContent: summary.percent === undefined ? "" : `${Math.round(summary.percent)}%` });
  const bar = element("progress", { max: 100, ariaLabel: `Progress of ${shown}` });
  if (summary.percent !== undefined) bar.value = summary.percent;
  const shows = summary.state === "running" || summary.percent !== undefined;
  const action = element("td", { className: "action" });
  if (summary.state === "running") {
    const button = element("button", { textContent: "Cancel", ariaLabel: `Cancel ${shown}` });
    button.addEventListener("click", () => ask(name));
    action.append(button);
  }
  row.replaceChildren(
    element("td", { className: "name" }, operationLink(name, address, {}, ...parts(name))),
    element("td", {}, element("span", { className: "text", textContent: visible(summary.kind ?? "") })),
    element("td", { className: "state" },
      element("strong", { className: summary.state, textContent: summary.state }),
      element("small", { textContent: visible(said ?? "") })),
    element("td", { className: "number" }, ...(shows ? [bar, percent] : [])),
    cell("Age", summary.createTime, since(summary.createTime)),
    cell("Changed", summary.updateTime, ago(summary.updateTime)),
    action);
}

function show(operation) {
  const { name, summary } = operation;
  const known = rows.get(name);
  if (state && summary.state !== state) {
    hide(name);
    return;
  }
  const row = known?.row ?? element("tr");
  const focused = row.contains(document.activeElement);
  filled(row, operation);
  if (focused) row.querySelector("button, a")?.focus();
  rows.set(name, { row, operation });
  if (!known) place(row, summary.createTime ?? "");
  changed(name);
}

function hide(name) {
  rows.get(name)?.row.remove();
  rows.delete(name);
  changed(name);
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
  const noun = rows.size === 1 ? "operation" : "operations";
  const shown = state ? `${state} ${noun}` : noun;
  tell(rows.size ? `${rows.size} ${shown}, live` : `No ${shown} yet; the list is live`);
}

// The button that agrees calls for the operation of the latest question. The dialog closes by itself.
function ask(name) {
  document.getElementById("asked").textContent = `Cancel ${visible(name)}?`;
  document.getElementById("agree").onclick = () => cancel(name);
  document.getElementById("question").showModal();
}

async function cancel(name) {
  try {
    const answer = await fetch(`v1/-:cancel?${new URLSearchParams({ name })}`, {
      method: "POST",
      // The person has agreed in the dialog.
      headers: { "lro-gateway-confirmed": "true", ...authorized() },
    });
    notice.textContent = answer.ok
      ? `The cancellation of ${visible(name)} is requested`
      : `${visible(name)} is not cancelled: ${await said(answer)}`;
  } catch (error) {
    notice.textContent = `${visible(name)} is not cancelled: ${error.message}`;
  }
}

// A backend that is down, or that has no lists, hides no operations of the others. The page has only
// the first operations.
async function nameMissing() {
  const query = new URLSearchParams({ pageSize: SHOWN, returnPartialSuccess: "true", fields: "unreachable,nextPageToken" });
  if (state) query.set("state", state);
  const answer = await fetch(`v1/operations?${query}`, { headers: authorized() });
  const { unreachable = [], nextPageToken } = answer.ok ? await answer.json() : {};
  missing.textContent = [
    unreachable.length && `Without the operations of ${unreachable.map((each) => each.replace("//", "")).join(", ")}`,
    nextPageToken && "There are more operations than the page shows",
  ].filter(Boolean).join(". ");
}

async function refused(answer) {
  const reason = await said(answer);
  if (answer.status === 401) {
    tell("The gateway needs a token");
    askForToken(reason, follow);
    return null;
  }
  if (answer.status === 403) {
    tell(`You may not see the operations: ${reason}`);
    return null;
  }
  tell(`The operations cannot be listed now: ${reason}`);
  return 5000;
}

function follow() {
  const query = new URLSearchParams({ summary: "true", pageSize: SHOWN, fields: "name,summary,error(message)", returnPartialSuccess: "true" });
  if (state) query.set("state", state);
  tell("Connecting ...");
  followEvents(`v1/operations:watch?${query}`, {
    opened() {
      // The stream begins with the whole list.
      rows.clear();
      body.replaceChildren();
    },
    listed() {
      count();
      nameMissing().catch(() => {});
    },
    take(type, data) {
      if (type === "operation") {
        show(JSON.parse(data));
        count();
      }
      if (type === "left") {
        hide(JSON.parse(data).name);
        count();
      }
      if (type === "status") tell(JSON.parse(data).error.message);
    },
    lost: () => tell("The connection is lost; it is opened again"),
    refused,
  });
}

document.getElementById("mcp").textContent = new URL("mcp", document.baseURI).href;
for (const link of document.querySelectorAll("#states a"))
  if ((new URL(link.href).searchParams.get("state") ?? "") === state) link.setAttribute("aria-current", "page");
setInterval(() => rows.forEach(({ row, operation }) => {
  const [, , , , age, change] = row.children;
  age.textContent = since(operation.summary.createTime);
  change.textContent = ago(operation.summary.updateTime);
}), 1000);
follow();
