import { ValueError } from '../errors.js'
import type { Reply } from '../redis/command.js'
import type { CommandBudget } from '../redis/deadline.js'
import { decodeStamp, encodeEntry, type Entry, entryIdentity, identityIn, IDENTITY_END, type Stamp } from './entry.js'
import type { Keyspace } from './keyspace.js'
import { OrphanedLeases } from './leases.js'
import { absentIfForeign, lifeArgument, type RedisConnection, type ScriptRunner } from './redis-commands.js'
import { scripts } from './scripts.js'
import type { Stamps } from './stamps.js'
import type { LeaseReply, LeaseRequest, Publication, Published } from './store.js'

const ANY_ENTRY = Buffer.from('*')

/** How a fill takes the lease of its key, and how it ends. */
export class RedisFills {
  readonly #orphans = new OrphanedLeases()
  /** On a cluster the clock and the groups are in other slots than the entry, so no script takes them together. */
  readonly #isCluster: boolean

  constructor(
    private readonly connection: RedisConnection,
    private readonly runner: ScriptRunner,
    private readonly keys: Keyspace,
    private readonly stamps: Stamps,
  ) {
    this.#isCluster = connection.topology === 'cluster'
  }

  acquire(key: string, request: LeaseRequest, budget?: CommandBudget): Promise<LeaseReply> {
    return this.#own(key, request.token, this.#acquire(key, request, budget))
  }

  publish(key: string, publication: Publication, budget?: CommandBudget): Promise<Published> {
    return this.#own(key, publication.token, this.#publish(key, publication, budget))
  }

  release(key: string, token: string, noteMs: number): Promise<void> {
    return this.#own(key, token, this.#release(key, token, noteMs))
  }

  async renew(key: string, token: string, leaseMs: number): Promise<boolean> {
    return (await this.runner.run(scripts.renew, [this.keys.lease(key)], [token, String(leaseMs)])) === 1
  }

  async isLeased(key: string): Promise<boolean> {
    const name = this.keys.lease(key)
    return String(await this.connection.execute(['GETRANGE', name, '0', '0'], name)) === 'f'
  }

  async wake(key: string, token: string): Promise<void> {
    await this.runner.run(scripts.wake, [this.keys.lease(key)], [token, ...this.keys.wakeFor(key)])
  }

  /** When a command on a lease of ours fails, the lease is given back as soon as the server answers. */
  #own<T>(key: string, token: string, command: Promise<T>): Promise<T> {
    return this.#orphans.watch(command, token, () => this.#release(key, token, 0))
  }

  async #acquire(key: string, request: LeaseRequest, budget: CommandBudget | undefined): Promise<LeaseReply> {
    const claimed = request.absentGroups.length === 0 ? await this.#claim(key, request, budget) : undefined
    if (claimed !== undefined) return claimed
    const { token, leaseMs, absentGroups, groupTtlMs } = request
    const seen = request.seen === 'any' ? ANY_ENTRY : entryIdentity(request.seen)
    const args = [token, String(leaseMs), seen, ...this.stamps.clockArguments, this.stamps.lifeOf(groupTtlMs)]
    const more = this.#isCluster ? [] : [this.keys.clock, ...this.keys.groupsOf(absentGroups, key)]
    // On a cluster next to the lease, not after it: the handler runs after both.
    const [reply, clock] = await Promise.all([
      this.runner.run(scripts.acquire, this.keys.entryAndLease(key, more), args, budget),
      this.#isCluster ? this.#clockFor(request, key, budget) : undefined,
    ])
    const [state, detail] = Array.isArray(reply) ? reply : []
    if (state === 0) return { state: 'held', remainingMs: Math.max(Number(detail), 1) }
    if (state === 2) return { state: 'changed' }
    if (state === 3) return { state: 'noted' }
    return { state: 'granted', stamp: clock ?? decodeStamp(detail) }
  }

  #clockFor({ absentGroups, groupTtlMs }: LeaseRequest, key: string, budget?: CommandBudget): Promise<Stamp> {
    if (absentGroups.length === 0) return this.stamps.clock(budget)
    return this.stamps.ensure(absentGroups, key, groupTtlMs, budget)
  }

  /**
   * The usual case in plain commands of one trip, which cost the server a third of the script. The entry is looked at
   * behind the lease, so what another fill has stored since the lookup is seen. Undefined: the lease is not free.
   */
  async #claim(
    key: string,
    { token, leaseMs, seen }: LeaseRequest,
    budget: CommandBudget | undefined,
  ): Promise<LeaseReply | undefined> {
    const [entry, lease] = [this.keys.entry(key), this.keys.lease(key)]
    const look = (): Promise<Reply> =>
      this.connection.execute(['GETRANGE', entry, '0', IDENTITY_END], entry, budget).catch(absentIfForeign)
    const [stamp, claimed, head] = await Promise.all([
      this.stamps.clock(budget),
      this.connection.execute(['SET', lease, `f0${token}`, 'NX', 'PX', String(leaseMs)], lease, budget),
      seen === 'any' ? null : look(),
    ])
    if (claimed === null) return undefined
    if (seen === 'any' || identityIn(head).equals(entryIdentity(seen))) return { state: 'granted', stamp }
    await this.#release(key, token, 0)
    return { state: 'changed' }
  }

  /** Groups that the handler named and that are missing cost one more trip. */
  async #publish(key: string, { token, entry, ttlMs }: Publication, budget?: CommandBudget): Promise<Published> {
    const [life, bytes, ...wake] = this.storeArguments(key, entry, ttlMs)
    const stamp = [String(entry.incarnation), String(entry.stamp), this.stamps.lifeOf(ttlMs)]
    const groups = this.#isCluster ? [] : this.keys.groupsOf(entry.groups, key)
    const [reply, isAdmitted] = await Promise.all([
      this.runner.run(
        scripts.fill,
        this.keys.entryAndLease(key, groups),
        [token, life, bytes, ...stamp, ...wake],
        budget,
      ),
      this.#isCluster ? this.stamps.admits(entry, key, ttlMs, budget) : true,
    ])
    if (reply === -1) return this.store(key, token, entry, ttlMs, budget)
    return reply === 1 && isAdmitted ? 'stored' : 'fenced'
  }

  /**
   * Stores and creates the groups that are missing: one script, or on a cluster side by side. Readers compare. Without a
   * token (`''`) whatever the lease and the groups say.
   */
  async store(key: string, token: string, entry: Entry, ttlMs: number, budget?: CommandBudget): Promise<Published> {
    const args = [
      token,
      ...this.storeArguments(key, entry, ttlMs),
      ...this.stamps.clockArguments,
      this.stamps.lifeOf(ttlMs),
      String(entry.incarnation),
      String(entry.stamp),
    ]
    const more = this.#isCluster ? [] : [this.keys.clock, ...this.keys.groupsOf(entry.groups, key)]
    const [reply, isAdmitted] = await Promise.all([
      this.runner.run(scripts.publish, this.keys.entryAndLease(key, more), args, budget),
      this.#isCluster ? this.stamps.admits(entry, key, ttlMs, budget) : true,
    ])
    return reply === 1 && isAdmitted ? 'stored' : 'fenced'
  }

  /** Life, bytes, and the wake-up of those who wait for the lease, as the scripts that store take them. */
  storeArguments(
    key: string,
    entry: Entry,
    ttlMs: number,
  ): [life: string, bytes: Buffer, channel: string, key: string] {
    if (ttlMs === Infinity) this.connection.unbounded()
    return [lifeArgument(ttlMs), bytesOf(entry, key), ...this.keys.wakeFor(key)]
  }

  async #release(key: string, token: string, noteMs: number): Promise<void> {
    const args = [token, ...this.keys.wakeFor(key), String(Math.ceil(noteMs))]
    await this.runner.run(scripts.release, [this.keys.lease(key)], args)
  }
}

export function bytesOf(entry: Entry, key: string): Buffer {
  const bytes = encodeEntry(entry)
  if (bytes === undefined) throw new ValueError(`The entry of ${key} has a header field that HTTP does not allow.`)
  return bytes
}
