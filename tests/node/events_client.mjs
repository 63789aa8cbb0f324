// Follows one operation with the events of @ai-sdk/mcp: it lists, subscribes, verifies, receives,
// refreshes and unsubscribes. Its argument is JSON; it prints what it saw as JSON.
import { createServer } from 'node:https'
import { readFileSync } from 'node:fs'

const { experimental_createMCPClient: createMCPClient, experimental_createMCPEventWebhook: createMCPEventWebhook } = await import(process.env.AI_SDK)

const { url, token, operation, certificate, key, protocolVersionDiscovery } = JSON.parse(process.argv[2])

const kept = new Map()
const store = {
  get: async (key) => kept.get(key),
  getById: async (id) => [...kept.values()].find((each) => each.id === id),
  set: async (subscription) => void kept.set(subscription.key, subscription),
  update: async (key, patch) => void kept.set(key, { ...kept.get(key), ...patch }),
  delete: async (key) => void kept.delete(key)
}

let received
const event = new Promise((resolve) => { received = resolve })
const answer = createMCPEventWebhook({
  store,
  onEvent: async ({ event }) => received(event)
})

const server = createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, async (request, response) => {
  const parts = []
  for await (const part of request) parts.push(part)
  const given = new Request(`https://127.0.0.1${request.url}`, {
    method: request.method,
    headers: request.headers,
    body: Buffer.concat(parts)
  })
  const made = await answer(given)
  response.writeHead(made.status, Object.fromEntries(made.headers))
  response.end(Buffer.from(await made.arrayBuffer()))
})
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
const callback = `https://127.0.0.1:${server.address().port}/hook`

const client = await createMCPClient({
  transport: { type: 'http', url, headers: { authorization: `Bearer ${token}` } },
  experimental_events: { store },
  protocolVersionDiscovery
})
const events = client.experimental_events
const listed = await events.list()
const subscribed = await events.subscribe({
  name: 'operation.done',
  arguments: { operation },
  delivery: { mode: 'webhook', url: callback },
  ttlMs: 3600000
})
console.log(JSON.stringify({ subscribed: subscribed.id }))
const got = await event
const refreshed = await events.refresh({ id: subscribed.id })
await events.unsubscribe({ id: subscribed.id })
console.log(JSON.stringify({
  names: listed.events.map((each) => each.name),
  same: refreshed.id === subscribed.id,
  status: refreshed.deliveryStatus ?? null,
  event: got,
  left: kept.size
}))
await client.close()
server.close()
server.closeAllConnections()
