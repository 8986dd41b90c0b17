import {
  type Admission,
  type Owned,
  type Change,
  type Creation,
  type Described,
  IDLE_PARTS,
  type LoadReply,
  MARK_MS,
  MOVED_US,
  type Refused,
  type Revocation,
  type Rotation,
  type SessionKey,
  type SessionStore,
  type SubjectEntry,
} from './session-store.js'

interface SessionRecord {
  digest: string
  epoch: string
  owner: string
  readonly createdAt: number
  issuedAt: number
  readonly deadlineAt: number
  seenAt: number
  idleMs: number
  expiresAt: number
  descriptor: string
  readonly properties: Map<string, Buffer>
}

interface SubjectRecord {
  epoch: string
  revokedAt: number
  except: { readonly handle: string; readonly epoch: string } | undefined
  /** Deadlines by handle. */
  index: Map<string, number>
  expiresAt: number
}

/** Writes between two sweeps of what has expired. */
const SWEEP_EVERY = 1000

/** Sessions in this process: the embedded store. */
export class MemorySessionStore implements SessionStore {
  readonly #now: () => number
  readonly #sessions = new Map<string, SessionRecord>()
  /** Ends of the marks of ended handles. */
  readonly #marks = new Map<string, number>()
  readonly #subjects = new Map<string, SubjectRecord>()
  #writes = 0

  /** `now`: milliseconds, with fractions where the clock has them. */
  constructor(now: () => number) {
    this.#now = () => Math.round(now() * 1000)
  }

  /** Sessions that are kept, expired ones included until they are swept. */
  get size(): number {
    return this.#sessions.size + this.#marks.size + this.#subjects.size
  }

  load({ handle, tag, digest }: SessionKey, idleMs: number): LoadReply {
    const now = this.#now()
    const record = this.#find(handle, now)
    if (record === undefined) return 'absent'
    if (record.digest !== digest) {
      return record.issuedAt > record.createdAt && now - record.issuedAt < MOVED_US ? 'moved' : 'absent'
    }
    if (this.#isRevoked(tag, handle, record.epoch, now)) return 'absent'
    touch(record, now, idleMs)
    const { epoch, owner, createdAt, issuedAt, deadlineAt, properties } = record
    return { properties: [...properties], epoch, owner, createdAt, issuedAt, deadlineAt, now }
  }

  create(handle: string, creation: Creation): 'created' | Refused {
    const now = this.#now()
    this.#sweep(now)
    if (this.#find(handle, now) !== undefined || (this.#marks.get(handle) ?? 0) > now) return 'ended'
    if (this.#isRevoked(creation.tag, handle, creation.epoch, now)) return 'revoked'
    const { digest, epoch, owner, descriptor, absoluteMs, idleMs } = creation
    const deadlineAt = now + absoluteMs * 1000
    const times = { createdAt: now, issuedAt: now, deadlineAt, seenAt: now, idleMs, expiresAt: deadlineAt }
    const record = { digest, epoch, owner, descriptor, ...times, properties: new Map<string, Buffer>() }
    apply(record, creation, now)
    restart(record, now, idleMs)
    this.#sessions.set(handle, record)
    return 'created'
  }

  save(handle: string, { owner, tag }: Owned, change: Change): 'saved' | Refused {
    const now = this.#now()
    const record = this.#find(handle, now)
    if (record === undefined) return 'ended'
    if (record.owner !== owner) return 'moved'
    if (this.#isRevoked(tag, handle, record.epoch, now)) return 'ended'
    apply(record, change, now)
    return 'saved'
  }

  rotate(handle: string, rotation: Rotation): number | Refused {
    const now = this.#now()
    const record = this.#find(handle, now)
    if (record === undefined) return 'ended'
    const { from, digest, epoch, owner, descriptor } = rotation
    if (record.owner !== from.owner || record.digest !== from.digest) return 'moved'
    if (this.#isRevoked(from.tag, handle, record.epoch, now)) return 'ended'
    if (this.#isRevoked(rotation.tag, handle, epoch, now)) return 'revoked'
    apply(record, rotation, now)
    restart(record, now, rotation.idleMs)
    // Later than before even by a coarse clock: so an id that has moved is known.
    Object.assign(record, { digest, epoch, owner, descriptor, issuedAt: Math.max(now, record.issuedAt + 1) })
    return record.deadlineAt - now
  }

  end(handle: string, digest: string | undefined): boolean {
    const now = this.#now()
    const record = this.#find(handle, now)
    if (digest !== undefined && record?.digest !== digest) return false
    if (record === undefined) this.#marks.set(handle, now + MARK_MS * 1000)
    return this.#sessions.delete(handle)
  }

  describe(tag: string, handles: readonly string[]): readonly (Described | undefined)[] {
    const now = this.#now()
    return handles.map((handle) => {
      const record = this.#find(handle, now)
      return record && { ...record, isBound: !this.#isRevoked(tag, handle, record.epoch, now) }
    })
  }

  admit(tag: string, { handle, lifeMs, keepMs, epoch, max }: SubjectEntry): Admission {
    const now = this.#now()
    const subject = this.#subject(tag, now) ?? { ...NEW_SUBJECT, epoch, index: new Map<string, number>() }
    this.#subjects.set(tag, subject)
    subject.expiresAt = Math.max(subject.expiresAt, now + keepMs * 1000)
    for (const [other, deadlineAt] of subject.index) if (deadlineAt <= now) subject.index.delete(other)
    const isNew = !subject.index.has(handle)
    subject.index.set(handle, now + lifeMs * 1000)
    const members = subject.index.size > max ? inOrder(subject.index) : []
    return { epoch: subject.epoch, revokedAt: subject.revokedAt, now, isNew, members }
  }

  withdraw(tag: string, handles: readonly string[]): void {
    for (const handle of handles) this.#subjects.get(tag)?.index.delete(handle)
  }

  has(tag: string, handle: string): boolean {
    const isListed = this.#subject(tag, this.#now())?.index.has(handle) ?? false
    return isListed && this.describe(tag, [handle])[0]?.isBound !== false
  }

  handles(tag: string): readonly string[] {
    return inOrder(this.#subject(tag, this.#now())?.index ?? new Map()).map((member) => member.handle)
  }

  revokeAll(tag: string, { epoch, keepMs, except }: Revocation): number {
    const now = this.#now()
    const before = this.#subject(tag, now)
    const deadlineAt = except === undefined ? undefined : before?.index.get(except.handle)
    const kept = except !== undefined && deadlineAt !== undefined && isCurrent(before, except.handle, except.epoch)
    const count = before?.index.size ?? 0
    this.#subjects.set(tag, {
      epoch,
      revokedAt: now,
      except: kept ? except : undefined,
      index: new Map(kept ? [[except.handle, deadlineAt]] : []),
      expiresAt: Math.max(before?.expiresAt ?? 0, now + keepMs * 1000),
    })
    return kept ? count - 1 : count
  }

  #find(handle: string, now: number): SessionRecord | undefined {
    const record = this.#sessions.get(handle)
    return record !== undefined && record.expiresAt > now ? record : undefined
  }

  #subject(tag: string, now: number): SubjectRecord | undefined {
    const subject = this.#subjects.get(tag)
    return subject !== undefined && subject.expiresAt > now ? subject : undefined
  }

  #isRevoked(tag: string | undefined, handle: string, epoch: string, now: number): boolean {
    return tag !== undefined && !isCurrent(this.#subject(tag, now), handle, epoch)
  }

  #sweep(now: number): void {
    this.#writes += 1
    if (this.#writes % SWEEP_EVERY !== 0) return
    for (const [handle, { expiresAt }] of this.#sessions) if (expiresAt <= now) this.#sessions.delete(handle)
    for (const [handle, endsAt] of this.#marks) if (endsAt <= now) this.#marks.delete(handle)
    for (const [tag, { expiresAt }] of this.#subjects) if (expiresAt <= now) this.#subjects.delete(tag)
  }
}

const NEW_SUBJECT = { revokedAt: 0, except: undefined, expiresAt: 0 }

function isCurrent(subject: SubjectRecord | undefined, handle: string, epoch: string): boolean {
  if (subject === undefined) return false
  return subject.epoch === epoch || (subject.except?.handle === handle && subject.except.epoch === epoch)
}

function apply(record: SessionRecord, { set, removed, idleMs }: Change, now: number): void {
  for (const [name, value] of set)
    record.properties.set(name, typeof value === 'string' ? Buffer.from(value) : Buffer.from(value))
  for (const name of removed) record.properties.delete(name)
  touch(record, now, idleMs)
}

/** Restarts the idle clock where that is due. */
function touch(record: SessionRecord, now: number, idleMs: number): void {
  if (idleMs === 0 || (now - record.seenAt < slackUs(idleMs) && record.idleMs === idleMs)) return
  restart(record, now, idleMs)
}

function restart(record: SessionRecord, now: number, idleMs: number): void {
  const expiresAt = Math.min(now + idleMs * 1000 + slackUs(idleMs), record.deadlineAt)
  Object.assign(record, { seenAt: now, idleMs, expiresAt })
}

function slackUs(idleMs: number): number {
  return (idleMs * 1000) / IDLE_PARTS
}

function inOrder(index: ReadonlyMap<string, number>): { readonly handle: string; readonly deadlineAt: number }[] {
  return Array.from(index, ([handle, deadlineAt]) => ({ handle, deadlineAt })).toSorted(
    (one, other) => one.deadlineAt - other.deadlineAt,
  )
}
