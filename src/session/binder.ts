import { SessionError } from '../errors.js'
import type { CommandBudget } from '../redis/deadline.js'
import { nonce } from './id.js'
import type { SessionPolicy } from './options.js'
import { MARK_MS, type SessionStore } from './session-store.js'

/** The epoch of a session that belongs to no subject. */
export const NO_EPOCH = '-'.repeat(22)

/** Revocations of this process that are remembered; older ones count as those of other processes, which is safe. */
const KNOWN_MAX = 10_000

/** Revocations that this process has made, by subject: a sign-in that begins afterwards is not one that was under way. */
export class OwnRevocations {
  readonly #last = new Map<string, { readonly epoch: string; readonly at: number }>()

  add(tag: string, epoch: string): void {
    this.#last.delete(tag)
    this.#last.set(tag, { epoch, at: performance.now() })
    const [oldest] = this.#last.size > KNOWN_MAX ? this.#last.keys() : []
    if (oldest !== undefined) this.#last.delete(oldest)
  }

  /** Whether the revocation of this epoch had resolved here before that time. */
  isEarlier(tag: string, epoch: string, before: number): boolean {
    const last = this.#last.get(tag)
    return last !== undefined && last.epoch === epoch && last.at <= before
  }
}

/** A sign-in, as far as its subject is concerned. */
export interface Binding {
  readonly tag: string
  readonly handle: string
  /** Until the session's absolute deadline. */
  readonly lifeMs: number
  /** Monotonic time at which the request began. */
  readonly startedAt: number
  /** Epochs of revocations that the request made itself. */
  readonly known: ReadonlySet<string>
  readonly budget: CommandBudget | undefined
}

/** Enters sessions into their subject's record, before the session itself is written. */
export class SubjectBinder {
  readonly #store: SessionStore
  readonly #policy: SessionPolicy
  readonly #own: OwnRevocations

  constructor(store: SessionStore, policy: SessionPolicy, own: OwnRevocations) {
    this.#store = store
    this.#policy = policy
    this.#own = own
  }

  /** The epoch that the session has to carry. Throws SessionError where everything was revoked since the request began. */
  async bind({ tag, handle, lifeMs, startedAt, known, budget }: Binding): Promise<string> {
    const { keepMs, maxPerSubject: max } = this.#policy
    const entry = { handle, lifeMs: Math.max(1, Math.ceil(lifeMs)), keepMs, epoch: nonce(), max }
    const { epoch, revokedAt, now, isNew, members } = await this.#store.admit(tag, entry, budget)
    // By the clock of the store, counted back from the reply: at the latest then the request had begun.
    const beganAt = now - (performance.now() - startedAt) * 1000
    if (revokedAt >= beganAt && !known.has(epoch) && !this.#own.isEarlier(tag, epoch, startedAt)) {
      // One that the revocation has spared stays where it is.
      if (isNew) await this.#store.withdraw(tag, [handle], budget)
      throw new SessionError('revoked')
    }
    if (members.length > 0) await this.#makeRoom(tag, handle, members, now, budget)
    return epoch
  }

  /** Ends the oldest sessions beyond the limit; entries of lapsed ones go first. */
  async #makeRoom(
    tag: string,
    own: string,
    members: Awaited<ReturnType<SessionStore['admit']>>['members'],
    now: number,
    budget: CommandBudget | undefined,
  ): Promise<void> {
    const others = members.filter(({ handle }) => handle !== own)
    const handles = others.map(({ handle }) => handle)
    const described = await this.#store.describe(tag, handles)
    // One that was admitted just now may not be there yet.
    const newestAt = now + (this.#policy.absoluteMs - MARK_MS) * 1000
    const isNewest = (index: number): boolean => (others[index]?.deadlineAt ?? 0) > newestAt
    const lapsed = handles.filter((_, index) => described[index] === undefined && !isNewest(index))
    // One of somebody else is not ended; it stays, because its sign-in may be under way.
    const live = handles.filter((_, index) => described[index]?.isBound ?? isNewest(index))
    const surplus = live.slice(0, Math.max(0, live.length + 1 - this.#policy.maxPerSubject))
    await Promise.all(surplus.map(async (handle) => this.#store.end(handle, undefined, budget)))
    await this.#store.withdraw(tag, [...lapsed, ...surplus], budget)
  }
}
