import { gunzipSync, brotliDecompressSync, inflateSync } from 'node:zlib'
import { Client, type Reply } from '../adapters/client.js'

/** What stands next to the cache in an application. `App`: the framework's application. */
export interface Neighbour<App, Req, Res> {
  readonly name: string
  add(app: App): unknown
  /** Who asks, by this neighbour's means. */
  readonly user?: (request: Req) => unknown
  /** Signs a user in. What it returns is the client's token. */
  readonly login?: (request: Req, response: Res, user: string) => unknown
  /** Names of the plugin for redwell, where this neighbour has the same. */
  readonly names?: object
  /** Where routes are declared instead of the application. */
  readonly routes?: (app: App) => App
  /** A module of NestJS that is imported instead, before or after that of redwell. */
  readonly module?: object
  /** Two of one kind cannot stand in one application. */
  readonly kind?: 'session'
  /** Names of those that make no sense in one application with this one, for the reason that docs/compatibility.md gives. */
  readonly without?: readonly string[]
  /** Fields that differ, for the reason that docs/compatibility.md gives. */
  readonly changes?: readonly string[]
}

export interface Running {
  readonly port: number
  close(): Promise<void>
}

export type Order = 'none' | 'before' | 'after'

/** Starts an application with these neighbours: without the cache, registered before it, or after it. */
export type Start<App, Req, Res> = (neighbours: readonly Neighbour<App, Req, Res>[], order: Order) => Promise<Running>

/** Every two of them that can stand together, in both orders. */
export function pairsOf<N extends Pick<Neighbour<never, never, never>, 'name' | 'kind' | 'without'>>(
  neighbours: readonly N[],
): readonly (readonly [N, N])[] {
  return neighbours.flatMap((one) =>
    neighbours
      .filter((other) => other !== one && (one.kind === undefined || one.kind !== other.kind))
      .filter((other) => !(one.without?.includes(other.name) ?? other.without?.includes(one.name) ?? false))
      .map((other) => [one, other] as const),
  )
}

const GZIP = { 'accept-encoding': 'gzip' }

/** Sends the same requests to an application with and without the cache. Returns what differs and should not. */
export async function differences<App, Req, Res>(
  start: Start<App, Req, Res>,
  neighbours: readonly Neighbour<App, Req, Res>[],
  order: 'before' | 'after',
): Promise<{ readonly differs: readonly string[]; readonly hits: number }> {
  const plain = await start(neighbours, 'none')
  const cached = await start(neighbours, order)
  try {
    const [without, withCache] = [await visit(plain), await visit(cached)]
    const changes = new Set(neighbours.flatMap((one) => one.changes ?? []))
    const differs = [...without].flatMap(([step, reply]) => {
      const other = withCache.get(step)
      return other === undefined ? [`${step}: is missing`] : compare(step, reply, other, changes)
    })
    const hits = [...withCache.values()].filter(({ cache }) => cache === 'HIT').length
    return { differs, hits }
  } finally {
    await plain.close()
    await cached.close()
  }
}

async function visit({ port }: Running): Promise<ReadonlyMap<string, Reply>> {
  const client = new Client(port)
  const replies = new Map<string, Reply>()
  const ask = async (step: string, path: string, headers: Record<string, string> = {}, method = 'GET') => {
    const reply = await client.ask(path, { method, headers: { host: 'a.example', ...headers } })
    replies.set(step, reply)
    return reply
  }
  const first = await ask('GET, first', '/items')
  await ask('GET, second', '/items')
  await ask('HEAD', '/items', {}, 'HEAD')
  const tag = first.headers['etag'] ?? replies.get('GET, second')?.headers['etag']
  await ask('GET, conditional', '/items', { 'if-none-match': tag ?? '"none"' })
  await ask('GET, conditional, changed', '/items', { 'if-none-match': '"other"' })
  for (const turn of ['first', 'second']) {
    await ask(`compressed, ${turn}`, '/long', GZIP)
    await ask(`not found, ${turn}`, '/missing')
    await ask(`unknown route, ${turn}`, '/nowhere')
    await ask(`error, ${turn}`, '/fails')
    await ask(`nobody, ${turn}`, '/me')
    await ask(`origin a, ${turn}`, '/items', { origin: 'https://a.example' })
    await ask(`origin b, ${turn}`, '/items', { origin: 'https://b.example' })
  }
  await ask('preflight', '/items', { origin: 'https://a.example', 'access-control-request-method': 'POST' }, 'OPTIONS')
  const users: Record<string, Record<string, string>> = {}
  for (const user of ['ada', 'bob']) {
    const reply = await ask(`${user} signs in`, `/login/${user}`, {}, 'POST')
    const cookies = reply.lines.filter(([name]) => name === 'set-cookie').map(([, value]) => value.split(';')[0] ?? '')
    users[user] = {
      ...(cookies.length > 0 && { cookie: cookies.join('; ') }),
      ...(reply.text.startsWith('token:') && { authorization: `Bearer ${reply.text.slice(6)}` }),
    }
  }
  for (const turn of ['first', 'second'])
    for (const [user, credentials] of Object.entries(users)) {
      await ask(`${user} asks who, ${turn}`, '/me', credentials)
      await ask(`${user} asks for items, ${turn}`, '/items', credentials)
    }
  await ask('ada writes', '/items', users['ada'], 'POST')
  await ask('GET after the write', '/items')
  await ask('bob after the write', '/items', users['bob'])
  await ask('GET after the write, second', '/items')
  await ask('nobody at the end', '/me')
  return replies
}

/** Fields that the cache adds, docs/http.md, and fields of the connection. */
const OWN = new Set(['x-redis-cache', 'cache-status', 'cache-groups', 'age'])
const OF_CONNECTION = new Set(['date', 'connection', 'keep-alive', 'transfer-encoding'])
/** Fields that the cache adds where the application sends none. */
const ADDED = new Set(['etag', 'cache-control', 'last-modified', 'vary', 'content-length'])
/** Values of these are times or random. */
const VARYING = new Set(['set-cookie', 'x-ratelimit-reset', 'expires'])

export function compare(step: string, plain: Reply, cached: Reply, changes: ReadonlySet<string>): readonly string[] {
  // With the cache a response has an ETag, which a later request may name.
  if (step === 'GET, conditional' && plain.status === 200 && cached.status === 304) return []
  // A 304 of the cache has the fields of its entry and those that others set for it; how many others leave out differs.
  if (plain.status === 304 && cached.status === 304) return []
  const found: string[] = []
  if (plain.status !== cached.status) found.push(`status ${plain.status}, with the cache ${cached.status}`)
  if (bodyOf(plain) !== bodyOf(cached) && !step.startsWith('HEAD'))
    found.push(`body ${bodyOf(plain).slice(0, 80)}, with the cache ${bodyOf(cached).slice(0, 80)}`)
  const names = new Set([...Object.keys(plain.headers), ...Object.keys(cached.headers)])
  for (const name of names) {
    const [before, after] = [fieldOf(plain, name), fieldOf(cached, name)]
    if (before === after || OWN.has(name) || OF_CONNECTION.has(name) || changes.has(name)) continue
    if (before === undefined && ADDED.has(name)) continue
    // A lifetime is added to what the application says.
    if ((name === 'vary' || name === 'cache-control') && listOf(before).every((one) => listOf(after).includes(one)))
      continue
    // Of a compressed body another length is right as long as the content is.
    if (name === 'content-length' && (after === undefined || plain.headers['content-encoding'] !== undefined)) continue
    found.push(`${name}: ${before}, with the cache ${after}`)
  }
  return found.map((text) => `${step}: ${text}`)
}

function fieldOf({ lines }: Reply, name: string): string | undefined {
  const values = lines.filter(([field]) => field === name).map(([, value]) => value)
  if (values.length === 0) return undefined
  return VARYING.has(name) ? values.map((value) => value.split('=')[0]).join(', ') : values.join(', ')
}

function listOf(field: string | undefined): readonly string[] {
  return (field ?? '')
    .toLowerCase()
    .split(/ *, */)
    .filter((one) => one !== '')
}

const DECODERS: Readonly<Record<string, (bytes: Buffer) => Buffer>> = {
  gzip: gunzipSync,
  br: brotliDecompressSync,
  deflate: inflateSync,
}

function bodyOf({ bytes, headers }: Reply): string {
  const decode = DECODERS[headers['content-encoding'] ?? '']
  const text = String(decode === undefined || bytes.length === 0 ? bytes : decode(bytes))
  // It has the second of its signing.
  return text.startsWith('token:') ? 'token' : text
}
