import type { CommandArgument, Reply, Script } from '../redis/command.js'
import type { Connection } from '../redis/connection.js'
import type { CommandBudget } from '../redis/deadline.js'
import { inChunks, ScriptRunner } from '../store/redis-commands.js'
import { scripts } from './scripts.js'
import {
  type Admission,
  type Owned,
  type Change,
  type Creation,
  type Described,
  type LoadReply,
  MARK_MS,
  type Refused,
  type Revocation,
  type Rotation,
  type SessionKey,
  type SessionStore,
  type SubjectEntry,
} from './session-store.js'

/** Where the fields of a head begin; lua/include/head.lua has its form. */
const HEAD = { epoch: 43, owner: 65, created: 81, issued: 97, deadline: 113, seen: 129, idle: 145, descriptor: 157 }

const EPOCH_BYTES = 22

/** A record of a subject: epoch, time of the last revocation, the session that it spared. */
const SUBJECT = { epoch: EPOCH_BYTES, spared: 38 }

/** Sessions in Redis: a hash for each, whose slot is its own; a record and an index for each subject, in one slot. */
export class RedisSessionStore implements SessionStore {
  readonly #connection: Connection
  readonly #prefix: string
  readonly #scripts: ScriptRunner
  /** The record of a subject may be on another node than its sessions. */
  readonly #isSpread: boolean

  /** `replicated`: a connection whose commands are answered when enough replicas have them; for what ends sessions. */
  constructor(connection: Connection, prefix: string, replicated: Connection = connection) {
    this.#connection = connection
    this.#prefix = prefix
    this.#scripts = new ScriptRunner(connection, replicated)
    this.#isSpread = connection.topology === 'cluster'
  }

  load(key: SessionKey, idleMs: number, budget?: CommandBudget): Promise<LoadReply> {
    const { handle, tag, digest } = key
    const name = this.#session(handle)
    const args = [digest, String(idleMs)]
    if (tag === undefined) return this.#scripts.run(scripts.load, [name], args, budget).then(loaded)
    if (!this.#isSpread) return this.#scripts.run(scripts.load, [name, this.#subject(tag)], args, budget).then(loaded)
    return Promise.all([this.#scripts.run(scripts.load, [name], args, budget), this.#record(tag, budget)]).then(
      ([reply, record]) => ofSubject(loaded(reply), handle, record),
    )
  }

  async create(handle: string, creation: Creation, budget?: CommandBudget): Promise<'created' | Refused> {
    const { tag, digest, epoch, owner, absoluteMs, idleMs, descriptor } = creation
    const args = [digest, epoch + owner, String(absoluteMs), String(idleMs), descriptor, ...changeArguments(creation)]
    const [reply, isRevoked] = await this.#bound(scripts.create, handle, [tag], args, budget)
    if (reply !== 1) return refusalOf(reply)
    return isRevoked(tag, epoch) ? 'revoked' : 'created'
  }

  async save(
    handle: string,
    { owner, tag }: Owned,
    change: Change,
    budget?: CommandBudget,
  ): Promise<'saved' | Refused> {
    const args = [owner, String(change.idleMs), ...changeArguments(change)]
    const [reply, isRevoked] = await this.#bound(scripts.save, handle, [tag], args, budget)
    if (!Buffer.isBuffer(reply)) return refusalOf(reply)
    return isRevoked(tag, reply.toString()) ? 'ended' : 'saved'
  }

  async rotate(handle: string, rotation: Rotation, budget?: CommandBudget): Promise<number | Refused> {
    const { from, tag, digest, epoch, owner, idleMs, descriptor } = rotation
    const own = [digest, epoch + owner, String(idleMs), descriptor]
    const script = tag === undefined && from.tag !== undefined ? scripts.leave : scripts.rotate
    const args = [from.digest, from.owner, ...own, ...changeArguments(rotation)]
    const [reply, isRevoked] = await this.#bound(script, handle, [from.tag, tag], args, budget)
    if (!Buffer.isBuffer(reply)) return refusalOf(reply)
    const text = reply.toString()
    if (isRevoked(from.tag, text.slice(0, EPOCH_BYTES))) return 'ended'
    return isRevoked(tag, epoch) ? 'revoked' : Number(text.slice(EPOCH_BYTES))
  }

  async end(handle: string, digest: string | undefined, budget?: CommandBudget): Promise<boolean> {
    const args = [digest ?? '', String(MARK_MS)]
    return (await this.#scripts.replicate(scripts.end, [this.#session(handle)], args, budget)) === 1
  }

  async describe(tag: string, handles: readonly string[]): Promise<readonly (Described | undefined)[]> {
    if (handles.length === 0) return []
    const record = this.#record(tag, this.#connection.invalidationBudget())
    return inChunks(handles, async (part, isBulk) => {
      const budget = isBulk ? this.#connection.bulkBudget() : this.#connection.invalidationBudget()
      const ask = (handle: string) => this.#scripts.run(scripts.describe, [this.#session(handle)], [], budget)
      const [subject, ...replies] = await Promise.all([record, ...part.map(ask)])
      return replies.map((reply, at) => described(reply, subject, part[at] ?? ''))
    })
  }

  async admit(tag: string, entry: SubjectEntry, budget?: CommandBudget): Promise<Admission> {
    const { handle, lifeMs, keepMs, epoch, max } = entry
    const args = [handle, String(lifeMs), String(keepMs), epoch, String(max === Infinity ? 0 : max)]
    const reply = await this.#scripts.run(scripts.admit, [this.#subject(tag), this.#index(tag)], args, budget)
    const [record = '', now, added, ...parts] = textsOf(reply)
    const members = parts.flatMap((part, at) =>
      at % 2 === 0 ? [{ handle: part, deadlineAt: Number(parts[at + 1]) }] : [],
    )
    const revokedAt = Number(record.slice(SUBJECT.epoch, SUBJECT.spared))
    return { epoch: record.slice(0, SUBJECT.epoch), revokedAt, now: Number(now), isNew: added === '1', members }
  }

  async withdraw(tag: string, handles: readonly string[], budget?: CommandBudget): Promise<void> {
    const index = this.#index(tag)
    if (handles.length > 0) await this.#connection.execute(['ZREM', index, ...handles], index, budget)
  }

  async has(tag: string, handle: string): Promise<boolean> {
    const index = this.#index(tag)
    const budget = this.#connection.invalidationBudget()
    const [score, [found]] = await Promise.all([
      this.#connection.execute(['ZSCORE', index, handle], index, budget),
      this.describe(tag, [handle]),
    ])
    return score !== null && found?.isBound !== false
  }

  async handles(tag: string): Promise<readonly string[]> {
    const index = this.#index(tag)
    return textsOf(await this.#connection.execute(['ZRANGE', index, '0', '-1'], index, this.#connection.bulkBudget()))
  }

  async revokeAll(tag: string, { epoch, keepMs, except }: Revocation): Promise<number> {
    const keys = [this.#subject(tag), this.#index(tag)]
    const args = [epoch, String(keepMs), except?.handle ?? '', except?.epoch ?? '']
    const budget = this.#connection.invalidationBudget()
    return Number(await this.#scripts.replicate(scripts.revokeAll, keys, args, budget))
  }

  /**
   * Runs a script on a session and the records of these subjects. Where they may be on other nodes the records are read
   * side by side with it, and what was revoked is known afterwards: what was written then is a record that nobody loads.
   */
  async #bound(
    script: Script,
    handle: string,
    tags: readonly (string | undefined)[],
    args: readonly CommandArgument[],
    budget: CommandBudget | undefined,
  ): Promise<readonly [Reply, (tag: string | undefined, epoch: string) => boolean]> {
    const name = this.#session(handle)
    if (!this.#isSpread) {
      const subjects = tags.map((tag) => (tag === undefined ? name : this.#subject(tag)))
      return [await this.#scripts.run(script, [name, ...subjects], args, budget), () => false]
    }
    const named = [...new Set(tags)].filter((tag) => tag !== undefined)
    const [reply, ...records] = await Promise.all([
      this.#scripts.run(script, [name], args, budget),
      ...named.map((tag) => this.#record(tag, budget)),
    ])
    const isRevoked = (tag: string | undefined, epoch: string): boolean =>
      tag !== undefined && !isCurrent(records[named.indexOf(tag)] ?? null, handle, epoch)
    return [reply, isRevoked]
  }

  #record(tag: string, budget: CommandBudget | undefined): Promise<Reply> {
    const subject = this.#subject(tag)
    return this.#connection.execute(['GET', subject], subject, budget)
  }

  #session(handle: string): string {
    return `${this.#prefix}:session:${handle}`
  }

  #subject(tag: string): string {
    return `${this.#prefix}:subject:{${tag}}`
  }

  #index(tag: string): string {
    return `${this.#prefix}:subject:{${tag}}:sessions`
  }
}

function changeArguments({ set, removed }: Change): CommandArgument[] {
  const args: CommandArgument[] = [String(set.length)]
  for (const [name, value] of set) args.push(name, typeof value === 'string' ? value : bufferOf(value))
  args.push(...removed)
  return args
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** Replies of scripts: 1 is none of them. */
const REFUSALS: readonly (Refused | undefined)[] = ['ended', undefined, 'moved', 'revoked']

function refusalOf(reply: Reply): Refused {
  return REFUSALS[Number(reply)] ?? 'ended'
}

function textsOf(reply: Reply): string[] {
  return Array.isArray(reply) ? reply.map((part: Reply) => String(part)) : []
}

function loaded(reply: Reply): LoadReply {
  if (!Array.isArray(reply)) return reply === 1 ? 'moved' : 'absent'
  const parts: readonly Reply[] = reply
  const properties: [string, Buffer][] = []
  let head = ''
  for (let index = 0; index + 1 < parts.length; index += 2) {
    const [name, bytes] = [parts[index], parts[index + 1]]
    if (!Buffer.isBuffer(name) || !Buffer.isBuffer(bytes)) continue
    if (name.length === 0) head = bytes.toString('latin1', 0, HEAD.seen)
    else properties.push([name.toString(), bytes])
  }
  return {
    properties,
    epoch: head.slice(HEAD.epoch, HEAD.owner),
    owner: head.slice(HEAD.owner, HEAD.created),
    createdAt: Number(head.slice(HEAD.created, HEAD.issued)),
    issuedAt: Number(head.slice(HEAD.issued, HEAD.deadline)),
    deadlineAt: Number(head.slice(HEAD.deadline, HEAD.seen)),
    now: Number(parts.at(-1)),
  }
}

function ofSubject(reply: LoadReply, handle: string, record: Reply): LoadReply {
  if (typeof reply === 'string') return reply
  return isCurrent(record, handle, reply.epoch) ? reply : 'absent'
}

/** What scripts decide by themselves where session and subject are on one node; lua/include/subject.lua. */
function isCurrent(record: Reply, handle: string, epoch: string): boolean {
  const subject = record === null ? '' : String(record)
  return subject.slice(0, SUBJECT.epoch) === epoch || subject.slice(SUBJECT.spared) === handle + epoch
}

function described(reply: Reply, subject: Reply, handle: string): Described | undefined {
  if (!Array.isArray(reply)) return undefined
  const [bytes, expiry, epoch]: readonly Reply[] = reply
  if (!Buffer.isBuffer(bytes)) return undefined
  const from = HEAD.created
  const numberAt = (start: number, end: number): number => Number(bytes.toString('latin1', start - from, end - from))
  return {
    isBound: isCurrent(subject, handle, String(epoch)),
    createdAt: numberAt(HEAD.created, HEAD.issued),
    issuedAt: numberAt(HEAD.issued, HEAD.deadline),
    seenAt: numberAt(HEAD.seen, HEAD.idle),
    expiresAt: Number(expiry) * 1000,
    descriptor: bytes.subarray(HEAD.descriptor - from).toString(),
  }
}
