// Shows the calls that wait for an approval, and decides them after a question.
"use strict";

// The stream of operations does not have these calls, so the page asks for them again and again.
const EVERY = 2000;
const MOST = 100;
const calls = new Map();
let refusedWith = null;
const waitingRows = document.getElementById("calls");

function person({ subject, tenant, client }) {
  return visible([subject || "somebody", tenant && `of ${tenant}`, client && `with ${client}`].filter(Boolean).join(" "));
}

// JSON with spaces, at which a line may end.
function spaced(value) {
  return visible(JSON.stringify(inOrder(value), null, 1).replace(/\n\s*/g, " "));
}

// A google.protobuf.Struct has no order of its own, so without this the keys of a request could change their places.
function inOrder(value) {
  if (Array.isArray(value)) return value.map(inOrder);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, inOrder(value[key])]));
}

// A text of a caller is only ever set as text, so it cannot become a part of the page.
function callRow(call) {
  const { name, backend, method, request, requester, createTime, expireTime, canDecide } = call;
  const decision = (verb) => {
    const label = verb[0].toUpperCase() + verb.slice(1);
    const button = element("button", { textContent: label, ariaLabel: `${label} ${name}` });
    button.addEventListener("click", () => question(call, verb));
    return button;
  };
  return element("tr", {},
    element("td", { className: "name" },
      operationLink(name, `v1/${name}?summary=true`, { title: method, textContent: method.split("/").pop() }),
      element("small", { textContent: `on ${backend}` })),
    element("td", { className: "request" },
      element("code", { className: "text", textContent: request ? spaced(request) : "not readable with the keys of this gateway" })),
    element("td", {}, element("span", { className: "text", textContent: person(requester) })),
    cell("Age", createTime, since(createTime)),
    cell("Expires", expireTime, until(expireTime)),
    element("td", { className: "number action" }, ...(canDecide ? [decision("approve"), " ", decision("refuse")] : [])));
}

function showCalls(found, more) {
  const names = new Set(found.map((call) => call.name));
  for (const [name, { row }] of calls) {
    if (names.has(name)) continue;
    row.remove();
    calls.delete(name);
    changed(name);
  }
  // A row that stays is not made again, so the focus stays where it is.
  let place = waitingRows.firstElementChild;
  for (const call of found) {
    const known = calls.get(call.name);
    if (known?.call.canDecide === call.canDecide) {
      place = known.row.nextElementSibling;
      continue;
    }
    const row = callRow(call);
    if (known) {
      known.row.replaceWith(row);
      place = row.nextElementSibling;
    } else {
      waitingRows.insertBefore(row, place);
    }
    calls.set(call.name, { row, call });
  }
  document.getElementById("approvals").hidden = !calls.size;
  const asks = document.getElementById("asks");
  const number = more ? `More than ${calls.size} calls wait` : calls.size === 1 ? "1 call waits" : `${calls.size} calls wait`;
  const told = calls.size ? `${number} for an approval` : "";
  if (asks.textContent !== told) asks.textContent = told;
}

function question(call, verb) {
  const approves = verb === "approve";
  document.getElementById("doubt").textContent =
    `${approves ? "Approve" : "Refuse"} ${call.method} on ${call.backend}, asked for by ${person(call.requester)}?`;
  document.getElementById("wanted").textContent = visibleLines(JSON.stringify(inOrder(call.request ?? {}), null, 2));
  document.getElementById("effect").textContent = approves
    ? `If you approve, the gateway makes this call at once, on behalf of ${person(call.requester)}.`
    : "If you refuse, the gateway never makes this call.";
  const reason = document.getElementById("because");
  const button = document.getElementById("decide");
  reason.value = "";
  button.textContent = approves ? "Approve the call" : "Refuse the call";
  button.className = approves ? "" : "risky";
  button.onclick = () => decide(call.name, verb, reason.value);
  // The key Enter in the field of the reason would press the first button.
  reason.onkeydown = (event) => event.key === "Enter" && event.preventDefault();
  document.getElementById("decision").showModal();
}

async function decide(name, verb, reason) {
  try {
    const answer = await fetch(`v1/${name}:${verb}`, {
      method: "POST",
      headers: { "content-type": "application/json", ...authorized() },
      body: JSON.stringify({ reason }),
    });
    notice.textContent = answer.ok
      ? `${name}: ${visible((await answer.json()).metadata.statusMessage)}`
      : `${name} is not decided: ${await said(answer)}`;
  } catch (error) {
    notice.textContent = `${name} is not decided: ${error.message}`;
  }
  await readCalls();
}

function credentials() {
  return authorized().authorization ?? "";
}

// Credentials that were refused are not sent again and again.
function mayAsk() {
  return !document.hidden && credentials() !== refusedWith;
}

// Without an answer, the calls that are shown stay until the next one.
async function readCalls() {
  try {
    const query = new URLSearchParams({ state: "pending", pageSize: MOST });
    const sent = credentials();
    const answer = await fetch(`v1/approvals?${query}`, { headers: authorized(), cache: "no-store" });
    refusedWith = answer.status === 401 ? sent : null;
    if (answer.ok) {
      const { approvals, nextPageToken } = await answer.json();
      showCalls(approvals, nextPageToken);
    } else if (answer.status === 401 || answer.status === 403) {
      showCalls([]);
    }
  } catch {
    // The stream of operations tells that the connection is lost.
  }
}

async function followCalls() {
  for (;;) {
    if (mayAsk()) await readCalls();
    await new Promise((resolve) => setTimeout(resolve, EVERY));
  }
}

setInterval(() => calls.forEach(({ row, call }) => {
  const [, , , age, expires] = row.children;
  age.textContent = since(call.createTime);
  expires.textContent = until(call.expireTime);
}), 1000);
followCalls();
