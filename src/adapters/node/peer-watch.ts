import { valueAt } from '../../value-at.js'
import { RequestProperty } from '../request-property.js'

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

/** A connection whose members are watched. */
class Peer {
  /** The watches of the requests that are being handled on it: several with pipelining and with HTTP/2. */
  readonly readers = new Set<PeerReader>()
  /** What it has itself, and not by its prototype. */
  readonly own = new Map<Member, PropertyDescriptor>()

  constructor(readonly connection: Connection) {}
}

const peers = new RequestProperty<Peer>()

/**
 * Reports reads of the client's address and certificate, through whichever object of the request the connection is
 * reached. Returns a function that ends it. The connection keeps its properties, which do nothing without a watch.
 */
export function watchPeer(message: object, watch: PeerReader): () => void {
  const connection = connectionOf(message)
  if (connection === undefined) return () => {}
  const { readers } = peers.get(connection) ?? watchMembers(connection)
  readers.add(watch)
  return () => void readers.delete(watch)
}

/** `socket` of an HTTP/2 request is a view, made for each request, of a connection that only Node's own symbol names. */
function connectionOf(message: object): Connection | undefined {
  const { socket, stream } = message as { socket?: Connection | null; stream?: { session?: object } }
  const session = stream?.session
  const symbol = session && Object.getOwnPropertySymbols(session).find(({ description }) => description === 'socket')
  const actual = symbol === undefined ? socket : (Reflect.get(session as object, symbol) as Connection | undefined)
  return actual ?? undefined
}

/** Prototypes of connections, each with the one that reports reads. */
const watchedPrototypes = new WeakMap<object, object>()

function watchMembers(connection: Connection): Peer {
  const peer = new Peer(connection)
  peers.set(connection, peer)
  for (const [name, watched] of OWN_MEMBERS) {
    const own = Object.getOwnPropertyDescriptor(connection, name)
    if (own === undefined || own.configurable === false) continue
    peer.own.set(name, own)
    Object.defineProperty(connection, name, { ...watched, enumerable: own.enumerable ?? false })
  }
  const parent = Object.getPrototypeOf(connection) as object
  const watched = valueAt(watchedPrototypes, parent, () => {
    const inherited = MEMBERS.filter((name) => name in parent)
    return Object.create(parent, Object.fromEntries(inherited.map((name) => [name, memberOf(parent, name)]))) as object
  })
  Object.setPrototypeOf(connection, watched)
  return peer
}

/**
 * A member that reports its reads. Connections share its functions: V8 gives up the shape of objects of one class that have
 * accessors of their own, and from then on every request of the process is slower, those that the cache answers as well.
 */
function memberOf(parent: object | undefined, name: Member): PropertyDescriptor {
  return {
    configurable: true,
    get(this: object): unknown {
      const peer = peers.get(this)
      const found = valueOf(peer, this, parent, name)
      if (peer === undefined || peer.readers.size === 0) return found
      const report = (value: unknown): void => peer.readers.forEach((watch) => reportPeer(watch, name, value))
      if (typeof found !== 'function') report(found)
      else
        return (...args: unknown[]): unknown => {
          const result: unknown = Reflect.apply(found, peer.connection, args)
          report(result)
          return result
        }
      return found
    },
    set(this: object, value: unknown) {
      peers.get(this)?.own.set(name, { value })
    },
  }
}

function valueOf(peer: Peer | undefined, object: object, parent: object | undefined, name: Member): unknown {
  const own = peer?.own.get(name)
  const connection = peer?.connection ?? object
  if (own !== undefined) return own.get === undefined ? own.value : (own.get.call(connection) as unknown)
  return parent && (Reflect.get(parent, name, connection) as unknown)
}

/** For members that a connection has itself. */
const OWN_MEMBERS = MEMBERS.map((name) => [name, memberOf(undefined, name)] as const)
