import type {
  CacheEvictOptions,
  CacheOptions,
  CachePutOptions,
  PrincipalOf,
  RateLimitOptions,
  Redis,
  RedisOptions,
  Session,
  SessionOptions,
} from '../../src/index.js'
import type { SessionRequirement } from '../../src/session/guard.js'
import type { Protocol } from './client.js'

/*
 * What the contract suite needs of a framework. To add a framework:
 *
 * 1. Write its adapter: what it alone knows, on the layers that adapters share. Frameworks that answer through a
 *    `ServerResponse` present their request as a `NodeRequest` and call `serveCached`, `serveWrite` and `serveUnsafe` of
 *    `src/adapters/node`; frameworks of web `Request` and `Response` use `WebRequest` and the same three of
 *    `src/adapters/web`. `hosts/koa-adapter.ts` is a whole adapter for `node:http` in under 100 lines.
 * 2. `hosts/<name>.ts` exports a `Host`. `start` builds an application as the framework's users would write it and serves
 *    it on 127.0.0.1. It declares the routes in the order given; options whose functions take a `Call` are turned into
 *    the framework's own with `withCalls`. Handlers' results are sent by the framework's own means (its JSON, its text,
 *    its streams), because those are what the adapter has to recognise.
 * 3. `<name>.test.ts` calls `contract(host)`, and runs the suite on memory and on Redis.
 * 4. Differences that are the framework's and no fault of the adapter are `traits`; a test asks for a trait only where
 *    no behaviour could be common. A framework with more than one server has one host for each.
 */

/** A host: a framework's adapter on a real server. */
export interface Host {
  readonly name: string
  readonly traits: Traits
  /** Rejects with what the declaration of a route throws. */
  start(spec: AppSpec): Promise<HostedApp>
}

export interface Traits {
  /** The adapter can run a handler in the background; if not, one request pays for a refresh. */
  readonly refreshes: boolean
  /** Several lines of one field leave as several lines. If not, they leave as one list, but for Set-Cookie. */
  readonly repeatsLines: boolean
  /** The adapter learns a route's method when the route is declared: a wrong one is an error there, not at a request. */
  readonly knowsMethods: boolean
  /** The head of a streamed answer leaves before its first byte. */
  readonly headBeforeBody: boolean
  /** A client learns that a stream broke. Over HTTP/2 some servers end it as if it were complete. */
  readonly tellsBreaks: boolean
  /** The media type of a refused request's body. NestJS 11 on Express makes plain JSON of every error. */
  readonly problemType: string
  /** The adapter has rate limits. */
  readonly limits: boolean
  /** The framework reports the client's address behind proxies that it is told to trust. */
  readonly trustsProxies: boolean
  /** A limit may stand behind the cache of its route, as the application orders them. */
  readonly limitsBehindCache: boolean
  /** The adapter has sessions. */
  readonly sessions: boolean
  /** The source of a stream whose client has left is known until it has closed. */
  readonly tellsSources: boolean
  /** What a handler answers is ended by the framework though its client has left. Koa sends nothing then. */
  readonly answersTheGone?: false
  /** A handler sends its answer itself, so it can send another one after it. */
  readonly answersTwice: boolean
}

export interface AppSpec {
  /** Settings for the adapter's own connection, or a handle that exists. */
  readonly redis: RedisOptions | Redis
  /** Wait for Redis before the first request. Default true. */
  readonly connect?: boolean
  readonly routes: readonly Route[]
  /** Limits every request, in the framework's own way. */
  readonly rateLimit?: RateLimitOptions<Call>
  /** The framework trusts the proxy that it is asked by. */
  readonly trustsProxy?: boolean
  /** Every request has a session. */
  readonly sessions?: SessionOptions<Call>
  /** Runs for every request before the cache and sets these fields, as a request id or CORS would be. */
  readonly ambient?: (call: Call) => readonly Line[]
  /** Who asks, in the adapter's options. */
  readonly principal?: PrincipalOf<Call>
  /**
   * The framework's usual compression. `outside`: the cache sees plain bodies. `inside`: it sees what the compression
   * made of them.
   */
  readonly compression?: 'inside' | 'outside'
  /** A transaction around every route, which ends before the response is sent. What it answers is sent instead. */
  readonly commit?: (call: Call) => Promise<Answer | undefined>
  /** The framework's own handling of errors. */
  readonly onError?: (error: Error) => Answer
}

export interface HostedApp {
  readonly port: number
  /** Default HTTP/1.1. */
  readonly protocol?: Protocol
  /** What handlers are given as Redis and cache, in the framework's own way. */
  readonly redis: Redis
  /** Stops the server as the framework's users would, and with it the connection, where it is the adapter's own. */
  close(): Promise<void>
}

export interface Route {
  readonly method: 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE'
  /** Parameters as `:name`. */
  readonly path: string
  readonly cache?: CacheOptions<Call>
  readonly cachePut?: CachePutOptions<Call>
  readonly cacheEvict?: CacheEvictOptions<Call>
  /** After the guard, before the cache. */
  readonly rateLimit?: RateLimitOptions<Call>
  /** The limit stands behind the cache: see the trait. */
  readonly limitsBehindCache?: boolean
  /** Guards the route where the framework's users would put it: before the cache. Answers where it refuses. */
  readonly guard?: (call: Call) => Answer | undefined
  /** What the route asks of the session. */
  readonly session?: SessionRequirement<Call>
  readonly handler: (call: Call) => Answer | string | Promise<Answer | string>
}

/** A request as handlers see it, in any framework. */
export interface Call {
  readonly method: string
  readonly params: Readonly<Record<string, string>>
  header(name: string): string | undefined
  /** Names of all fields, by the framework's own object of them. */
  names(): readonly string[]
  /** Address of the client, in the framework's own way, or by the connection behind it. */
  address(of: 'framework' | 'connection'): string | undefined
  /** Scheme and authority, in the framework's own way. */
  origin(): string
  /** The session, in the framework's own way. */
  readonly session: Session
  /** The body as JSON. */
  json(): Promise<unknown>
  /** The framework's response helper. */
  cacheGroups(...names: string[]): void
}

export type Line = readonly [name: string, value: string]

/** What a handler answers; a string is a text with status 200. At most one kind of body. */
export interface Answer {
  readonly status?: number
  readonly headers?: readonly Line[]
  readonly text?: string
  readonly json?: unknown
  readonly bytes?: Buffer
  readonly stream?: AsyncIterable<string | Buffer>
  /** A handler that goes on after this answer: it sends another one, or throws. */
  readonly again?: Answer | Error
}

type CallFunction = (call: Call, ...rest: unknown[]) => unknown

/** Functions of a Call as functions of the framework's request, also within `vary`. */
function withCall(name: string, value: unknown, callOf: (request: never) => Call): unknown {
  if (typeof value === 'function') return wrapped(value as CallFunction, callOf)
  if (name !== 'vary' || typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return mapObject(value, (part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? mapObject(part, (inner: unknown) => withCall('', inner, callOf))
      : withCall('', part, callOf),
  )
}

/** A function that several routes have stays one function. */
function wrapped(value: CallFunction, callOf: (request: never) => Call): unknown {
  const known = wrappers.get(callOf) ?? new WeakMap<CallFunction, unknown>()
  wrappers.set(callOf, known)
  const wrapper = known.get(value) ?? ((request: never, ...rest: unknown[]) => value(callOf(request), ...rest))
  known.set(value, wrapper)
  return wrapper
}

const wrappers = new WeakMap<(request: never) => Call, WeakMap<CallFunction, unknown>>()

function mapObject(object: object, map: (value: unknown) => unknown): object {
  return Object.fromEntries(Object.entries(object).map(([name, value]) => [name, map(value)]))
}

/** Options with functions of a Call as options with functions of the framework's request. */
export function withCalls<Options extends object, Req>(
  options: Options,
  callOf: (request: Req) => Call,
): ForRequest<Options, Req> {
  const entries = Object.entries(options).map(([name, value]) => [
    name,
    name === 'storeWhen' ? (value as unknown) : withCall(name, value, callOf),
  ])
  return Object.fromEntries(entries) as ForRequest<Options, Req>
}

/** The options of sessions, for the framework's request. */
export function sessionsWithCalls<Req>(
  { describe, skip, ...rest }: SessionOptions<Call>,
  callOf: (request: Req) => Call,
): SessionOptions<Req> {
  return {
    ...rest,
    ...(describe && { describe: (request: Req) => describe(callOf(request)) }),
    ...(skip && { skip: (request: Req) => skip(callOf(request)) }),
  }
}

/** What a route asks of the session, for the framework's request. */
export function requirementWithCalls<Req>(
  { onReject, ...rest }: SessionRequirement<Call>,
  callOf: (request: Req) => Call,
): SessionRequirement<Req> {
  return { ...rest, ...(onReject && { onReject: (reason, request: Req) => onReject(reason, callOf(request)) }) }
}

/** The options of a rate limit, for the framework's request. */
export function limitWithCalls<Req>(
  { rate, per, cost, skip, onLimited, ...rest }: RateLimitOptions<Call>,
  callOf: (request: Req) => Call,
): RateLimitOptions<Req> {
  return {
    ...rest,
    rate: typeof rate === 'function' ? (request) => rate(callOf(request)) : rate,
    ...(per && { per: (request: Req) => per(callOf(request)) }),
    ...(cost !== undefined && { cost: typeof cost === 'function' ? (request: Req) => cost(callOf(request)) : cost }),
    ...(skip && { skip: (request: Req) => skip(callOf(request)) }),
    ...(onLimited && {
      onLimited:
        onLimited === 'throw'
          ? onLimited
          : (verdict: Parameters<typeof onLimited>[0], request: Req) => onLimited(verdict, callOf(request)),
    }),
  }
}

type ForRequest<Options, Req> =
  Options extends CacheOptions<Call>
    ? CacheOptions<Req> & CachePutOptions<Req> & CacheEvictOptions<Req>
    : CacheEvictOptions<Req>

/** The status that an error asks for. */
export function statusOf(error: Error): 409 | 500 | 503 {
  const { statusCode, status } = error as { statusCode?: unknown; status?: unknown }
  const asked = statusCode ?? status
  return asked === 409 || asked === 503 ? asked : 500
}

/** Lines as an object: several lines of one name are a list. */
export function toFields(lines: readonly Line[] = []): Record<string, string | string[]> {
  const fields: Record<string, string | string[]> = {}
  for (const [name, value] of lines) {
    const before = fields[name]
    fields[name] = before === undefined ? value : [before, value].flat()
  }
  return fields
}

export function toAnswer(answer: Answer | string): Answer {
  return typeof answer === 'string' ? { text: answer } : answer
}

export async function* toBytes(pieces: AsyncIterable<string | Buffer>): AsyncGenerator<Buffer> {
  for await (const piece of pieces) yield typeof piece === 'string' ? Buffer.from(piece) : piece
}
