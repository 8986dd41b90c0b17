import { expect } from 'vitest'
import {
  decideStore,
  type HeaderList,
  type HttpPolicy,
  evaluateReuse,
  type OutgoingResponse,
  planRequest,
  buildMissResponse,
  type RefusalReason,
  buildStoredResponse,
  type StoredResponseContext,
  type RequestHead,
  resolveHttpPolicy,
  type ResponseHead,
  type RunContext,
  type Storable,
  type StoredResponse,
  toStored,
  type ReuseDecision,
} from '../../src/http/index.js'

/** Wednesday, and a whole second: HTTP-dates have no fractions. */
export const NOW = Date.UTC(2026, 0, 14, 12, 0, 0)
export const SECOND = 1000
export const HOUR = 3_600_000
export const BODY = Buffer.from('0123456789')

export function date(offsetSeconds = 0): string {
  return new Date(NOW + offsetSeconds * SECOND).toUTCString()
}

/** Options of a route as the HTTP rules read them. */
export type Options = Parameters<typeof resolveHttpPolicy>[0]

export function policyOf(options: Options = {}, defaultTtlMs = 0): HttpPolicy {
  const problems: string[] = []
  const policy = resolveHttpPolicy(options, problems, { defaultTtlMs })
  expect(problems).toEqual([])
  return policy
}

export function problemsOf(options: unknown): string[] {
  const problems: string[] = []
  resolveHttpPolicy(options as Options, problems)
  return problems
}

export function request(
  fields: Readonly<Record<string, string>> = {},
  method = 'GET',
  target = '/things?a=1',
): RequestHead {
  return { method, target, header: (name) => fields[name] }
}

export function response(headers: HeaderList = [], status = 200): ResponseHead {
  return { status, headers: ['Content-Type', 'text/plain', ...headers] }
}

export interface Run {
  readonly options?: Options | undefined
  readonly defaultTtlMs?: number
  readonly request?: RequestHead
  readonly response?: ResponseHead
  readonly body?: Buffer
  readonly now?: number
  readonly requestedAt?: number
  readonly facts?: Partial<RunContext>
}

export function decide(run: Run = {}) {
  const policy = policyOf(run.options, run.defaultTtlMs)
  const head = run.request ?? request()
  const now = run.now ?? NOW
  return decideStore(run.response ?? response(), {
    ...{ request: head, plan: planRequest(head, policy), policy, now, requestedAt: run.requestedAt ?? now },
    body: run.body ?? BODY,
    ...run.facts,
  })
}

/** Why the response of a run is not stored; undefined where it is. */
export function refusal(run: Run): RefusalReason | undefined {
  const decision = decide(run)
  return decision.store ? undefined : decision.reason
}

export function storable(run: Run = {}): Storable {
  const decision = decide(run)
  if (!decision.store) throw new Error(`refused: ${decision.reason}`)
  return decision
}

export function stored(run: Run = {}): StoredResponse {
  return toStored(storable(run), run.body ?? BODY)
}

/** Lifetime in seconds as of the run. */
export function lifetime(run: Run): number {
  return (storable(run).entry.freshUntil - (run.now ?? NOW)) / SECOND
}

export interface Ask {
  readonly options?: Options | undefined
  readonly request?: RequestHead
  readonly now?: number
  readonly how?: StoredResponseContext
  readonly softened?: boolean
}

export function verdictOf(entry: StoredResponse, ask: Ask = {}): ReuseDecision {
  const policy = policyOf(ask.options)
  return evaluateReuse(entry, planRequest(ask.request ?? request(), policy), policy, ask.now ?? NOW, ask.softened)
}

export function hit(entry: StoredResponse, ask: Ask = {}): OutgoingResponse {
  const policy = policyOf(ask.options)
  const head = ask.request ?? request()
  return buildStoredResponse(entry, planRequest(head, policy), policy, ask.now ?? NOW, ask.how)
}

/** What the client of the handler run is sent. */
export function miss(run: Run & { readonly run?: Parameters<typeof buildMissResponse>[6] } = {}): OutgoingResponse {
  const policy = policyOf(run.options, run.defaultTtlMs)
  const head = run.request ?? request()
  return buildMissResponse(
    planRequest(head, policy),
    run.response ?? response(),
    run.body ?? BODY,
    decide(run),
    policy,
    run.now ?? NOW,
    run.run,
  )
}

/** Values of a field, in order. */
export function values(message: { readonly headers: HeaderList }, name: string): string[] {
  const found: string[] = []
  for (let index = 0; index < message.headers.length; index += 2) {
    if (message.headers[index]?.toLowerCase() === name.toLowerCase()) found.push(message.headers[index + 1] as string)
  }
  return found
}

export function value(message: { readonly headers: HeaderList }, name: string): string | undefined {
  return values(message, name)[0]
}

/** Lower-case field names, in order. */
export function names(message: { readonly headers: HeaderList }): string[] {
  return message.headers.filter((_, index) => index % 2 === 0).map((name) => name.toLowerCase())
}
