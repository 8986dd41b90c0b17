import { type Conditions, forwardedConditions, type HttpPolicy, type RequestPlan } from '../http/index.js'
import type { Entry } from '../store/entry.js'
import type { Before } from './handler-run.js'

/** Request fields by lower-case name, as a handler has to see them; undefined: it must not see the field at all. */
export interface RequestFields extends ReadonlyMap<string, string | undefined> {
  /** They ask the handler about the stored response. */
  readonly validates: boolean
}

class Fields extends Map<string, string | undefined> implements RequestFields {
  readonly validates: boolean

  constructor(conditions: Conditions | undefined, validates: boolean) {
    super()
    this.validates = validates
    if (conditions === undefined) return
    this.set('if-none-match', conditions.ifNoneMatch)
    this.set('if-modified-since', conditions.ifModifiedSince)
  }
}

const AS_IS: RequestFields = new Fields(undefined, false)

const HIDDEN: RequestFields = new Fields({ ifNoneMatch: undefined, ifModifiedSince: undefined }, false)

/**
 * A handler that answered the client's own condition with 304 would leave nothing to store, so a run that stores hides
 * it, and asks about the stored response instead where there is one with validators of the handler's (RFC 9111 section
 * 4.3.1).
 */
export function requestFields(
  plan: RequestPlan,
  policy: HttpPolicy,
  stores: boolean,
  before: Before | undefined,
  others: readonly Entry[],
): RequestFields {
  const conditional = before?.verdict.conditional === true && (stores || !plan.head)
  if (!stores && !conditional) return AS_IS
  const conditions = forwardedConditions(plan, policy, before?.entry, before?.verdict, others)
  if (conditions === 'as-is') return AS_IS
  const asks = conditions.ifNoneMatch !== undefined || conditions.ifModifiedSince !== undefined
  return asks ? new Fields(conditions, true) : HIDDEN
}

/** Fields by which servers tell people apart. Who reads one answers for somebody. */
const CREDENTIALS = ['authorization', 'cookie', 'proxy-authorization', 'x-api-key', 'x-auth-token'] as const

const NONE: readonly string[] = []

/**
 * Fields that do not select the entry though the answer of a handler that reads one is not for everybody: credentials,
 * and what the route names beside. `names` are the fields that do select it.
 */
export function unkeyedFields(policy: HttpPolicy, names: readonly string[]): readonly string[] {
  if (policy.unkeyedReads === 'ignore') return NONE
  const shared = policy.personal || policy.unsafeShared
  const fields = [...(shared ? NONE : CREDENTIALS), ...policy.unkeyedFields]
  return fields.filter(
    (name) =>
      !names.includes(name) &&
      !(name === 'authorization' && policy.auth === 'shared') &&
      !(name === 'host' && policy.host),
  )
}
