import { valueAt } from '../../value-at.js'

/** Called when the address or certificate of the connection's peer is read. */
interface PeerReader {
  readPeer(member: string, value: unknown): void
}

let isMuted = false

/** Reads of our own, such as that of a rate limit behind the cache, which are none of the handler. Not for what is awaited. */
export function unwatched<T>(read: () => T): T {
  isMuted = true
  try {
    return read()
  } finally {
    isMuted = false
  }
}

/** Reports a read to a watch, unless it is one of our own. */
export function reportPeer(watch: PeerReader, member: string, value: unknown): void {
  if (!isMuted) watch.readPeer(member, value)
}

/** Properties of a connection that identify the client. */
const MEMBERS = ['remoteAddress', 'authorized', 'getPeerCertificate', 'getPeerX509Certificate'] as const

type Member = (typeof MEMBERS)[number]

type Connection = object & { [Name in Member]?: unknown }

/** The watches of the requests that are being handled on a connection: several with pipelining and with HTTP/2. */
const watches = new WeakMap<Connection, Set<PeerReader>>()

/**
 * Reports reads of the client's address and certificate, through whichever object of the request the connection is
 * reached. Returns a function that ends it. The connection keeps its properties, which do nothing without a watch.
 */
export function watchPeer(message: object, watch: PeerReader): () => void {
  const connection = connectionOf(message)
  if (connection === undefined) return () => {}
  const all = valueAt(watches, connection, () => watchMembers(connection))
  all.add(watch)
  return () => void all.delete(watch)
}

/** `socket` of an HTTP/2 request is a view, made for each request, of a connection that only Node's own symbol names. */
function connectionOf(message: object): Connection | undefined {
  const { socket, stream } = message as { socket?: Connection | null; stream?: { session?: object } }
  const session = stream?.session
  const symbol = session && Object.getOwnPropertySymbols(session).find(({ description }) => description === 'socket')
  const actual = symbol === undefined ? socket : (Reflect.get(session as object, symbol) as Connection | undefined)
  return actual ?? undefined
}

function watchMembers(connection: Connection): Set<PeerReader> {
  const all = new Set<PeerReader>()
  for (const name of MEMBERS) if (name in connection) watchMember(connection, name, all)
  return all
}

function watchMember(connection: Connection, name: Member, all: ReadonlySet<PeerReader>): void {
  const own = Object.getOwnPropertyDescriptor(connection, name)
  if (own?.configurable === false) return
  const parent = Object.getPrototypeOf(connection) as object
  const inherited = { get: (): unknown => Reflect.get(parent, name, connection) }
  let current: { get: () => unknown } =
    own === undefined || own.get !== undefined ? inherited : { get: () => own.value }
  if (own?.get !== undefined) current = { get: () => own.get?.call(connection) as unknown }
  const report = (value: unknown): void => all.forEach((watch) => reportPeer(watch, name, value))
  Object.defineProperty(connection, name, {
    configurable: true,
    enumerable: own?.enumerable ?? false,
    get() {
      const found = current.get()
      if (all.size === 0) return found
      if (typeof found !== 'function') report(found)
      else
        return (...args: unknown[]): unknown => {
          const result: unknown = Reflect.apply(found, connection, args)
          report(result)
          return result
        }
      return found
    },
    set(next: unknown) {
      current = { get: () => next }
    },
  })
}
