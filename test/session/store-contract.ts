import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { newId, nonce, type SessionId } from '../../src/session/id.js'
import type { Creation, LoadedRecord, Rotation, SessionStore } from '../../src/session/session-store.js'

export interface StoreBed {
  store(): SessionStore
  /** Sessions and subjects are in different places, as on a cluster. */
  readonly isSpread?: boolean
  /** Lets time pass, on whatever clock the store has. */
  wait(ms: number): Promise<void>
}

const SECOND = 1000
const text = (value: string) => Buffer.from(value)
const owner = () => randomBytes(12).toString('base64url')

export const creationOf = (id: SessionId, more: Partial<Creation> = {}): Creation => ({
  digest: id.digest,
  tag: undefined,
  epoch: '-'.repeat(22),
  owner: owner(),
  absoluteMs: 100 * SECOND,
  idleMs: 10 * SECOND,
  descriptor: '',
  set: [['a', text('1')]],
  removed: [],
  ...more,
})

const entryOf = (handle: string, more = {}) => ({
  ...{ handle, lifeMs: 100 * SECOND, keepMs: 100 * SECOND, epoch: nonce(), max: Infinity },
  ...more,
})

/** What both stores must do. */
export function storeContract({ store, wait, isSpread = false }: StoreBed): void {
  const load = async (id: SessionId, idleMs = 10 * SECOND) => store().load(id, idleMs)
  const loaded = async (id: SessionId) => {
    const reply = await load(id)
    if (typeof reply === 'string') throw new Error(reply)
    return reply
  }
  const valuesOf = ({ properties }: LoadedRecord) =>
    Object.fromEntries(properties.map(([name, bytes]) => [name, bytes.toString()]))
  const made = async (more: Partial<Creation> = {}, tag?: string) => {
    const id = newId(tag)
    const creation = creationOf(id, more)
    expect(await store().create(id.handle, creation)).toBe('created')
    return { id, creation }
  }
  /** A session of a subject, as a sign-in makes it. */
  const signedIn = async (tag: string) => {
    const id = newId(tag)
    const { epoch } = await store().admit(tag, entryOf(id.handle))
    const creation = creationOf(id, { tag, epoch, descriptor: 'Firefox' })
    expect(await store().create(id.handle, creation)).toBe('created')
    return { id, epoch, creation }
  }
  const rotationOf = (from: Creation, id: SessionId, more: Partial<Rotation> = {}): Rotation => ({
    ...{ from, tag: from.tag, digest: id.digest, epoch: from.epoch, owner: from.owner, descriptor: '' },
    ...{ set: [], removed: [], idleMs: 10 * SECOND },
    ...more,
  })

  test('what was created is loaded, byte for byte, and only by its own id', async () => {
    const bytes = randomBytes(300)
    const { id, creation } = await made({
      set: [
        ['a', text('1')],
        ['ü ', bytes],
        ['__proto__', text('{}')],
      ],
    })
    const record = await loaded(id)
    expect(new Map(record.properties)).toEqual(
      new Map([
        ['a', text('1')],
        ['ü ', bytes],
        ['__proto__', text('{}')],
      ]),
    )
    expect([record.epoch, record.owner]).toEqual([creation.epoch, creation.owner])
    expect(record.deadlineAt - record.createdAt).toBe(100_000_000)
    expect(record.issuedAt).toBe(record.createdAt)
    for (const other of [newId(undefined), newId(undefined, id.handle), newId(nonce(), id.handle)])
      expect(await load(other)).toBe('absent')
  })

  test('a change writes what it names and leaves the rest', async () => {
    const { id, creation } = await made({
      set: [
        ['a', text('1')],
        ['b', text('2')],
        ['c', text('3')],
      ],
    })
    const change = {
      set: [
        ['b', text('4')],
        ['d', text('5')],
      ] as const,
      removed: ['c', 'none'],
      idleMs: 0,
    }
    expect(await store().save(id.handle, creation, change)).toBe('saved')
    expect(valuesOf(await loaded(id))).toEqual({ a: '1', b: '4', d: '5' })
  })

  test('a change of everything, and of very many properties', async () => {
    const { id, creation } = await made()
    const many = Array.from({ length: 1500 }, (_, index) => [`p${index}`, text(String(index))] as const)
    expect(await store().save(id.handle, creation, { set: many, removed: ['a'], idleMs: 0 })).toBe('saved')
    expect(Object.keys(valuesOf(await loaded(id)))).toHaveLength(1500)
    const names = many.map(([name]) => name)
    expect(await store().save(id.handle, creation, { set: [], removed: names, idleMs: 0 })).toBe('saved')
    expect((await loaded(id)).properties).toEqual([])
  })

  test('nothing is written for another owner, or where there is no session', async () => {
    const { id, creation } = await made()
    const change = { set: [['a', text('9')]] as const, removed: [], idleMs: 10 * SECOND }
    expect(await store().save(id.handle, { owner: owner(), tag: undefined }, change)).toBe('moved')
    expect(valuesOf(await loaded(id))).toEqual({ a: '1' })
    await store().end(id.handle, undefined)
    expect(await store().save(id.handle, creation, change)).toBe('ended')
    expect(await load(id)).toBe('absent')
  })

  test('a rotation replaces the id in place; for a while the old one is known to have moved', async () => {
    const { id, creation } = await made()
    const next = newId(undefined, id.handle)
    const left = await store().rotate(id.handle, rotationOf(creation, next, { set: [['b', text('2')]] }))
    expect(left).toBeGreaterThan(99_000_000)
    expect(left).toBeLessThanOrEqual(100_000_000)
    expect(await load(id)).toBe('moved')
    const record = await loaded(next)
    expect(valuesOf(record)).toEqual({ a: '1', b: '2' })
    expect(record.issuedAt).toBeGreaterThan(record.createdAt)
    expect(await load(newId(undefined, nonce()))).toBe('absent')
  })

  test('of two rotations of one id the second is refused, with its change, also where the owner is the same', async () => {
    const { id, creation } = await made()
    const [first, second] = [newId(undefined, id.handle), newId(undefined, id.handle)]
    await store().rotate(id.handle, rotationOf(creation, first))
    const late = rotationOf(creation, second, { set: [['b', text('2')]] })
    expect(await store().rotate(id.handle, late)).toBe('moved')
    expect(valuesOf(await loaded(first))).toEqual({ a: '1' })
    expect(await load(second)).toBe('moved')
  })

  test('a rotation to another owner refuses what was loaded before, rotations and changes', async () => {
    const { id, creation } = await made()
    const next = newId(nonce(), id.handle)
    await store().rotate(id.handle, rotationOf(creation, next, { owner: owner() }))
    const change = { set: [['a', text('9')]] as const, removed: [], idleMs: 0 }
    expect(await store().save(id.handle, creation, change)).toBe('moved')
    expect(await store().rotate(id.handle, rotationOf(creation, newId(undefined, id.handle)))).toBe('moved')
    await store().end(id.handle, undefined)
    expect(await store().rotate(id.handle, rotationOf(creation, next))).toBe('ended')
  })

  test('a handle that was ended before its session was there cannot be created any more', async () => {
    const id = newId(undefined)
    expect(await store().end(id.handle, undefined)).toBe(false)
    expect(await store().create(id.handle, creationOf(id))).toBe('ended')
    expect(await store().end(id.handle, undefined)).toBe(false)
    expect(await store().create(id.handle, creationOf(id))).toBe('ended')
    expect(await load(id)).toBe('absent')
    expect(await store().describe(nonce(), [id.handle])).toEqual([undefined])
  })

  test('a session is ended by its handle, or only by its own id', async () => {
    const { id } = await made()
    expect(await store().end(id.handle, newId(undefined).digest)).toBe(false)
    await loaded(id)
    expect(await store().end(id.handle, id.digest)).toBe(true)
    expect(await load(id)).toBe('absent')
    // No mark: nothing was ended by its handle.
    expect(await store().create(id.handle, creationOf(id))).toBe('created')
  })

  test('the idle clock ends a session, and each load restarts it', async () => {
    const { id } = await made({ idleMs: 300 })
    for (let turn = 0; turn < 3; turn += 1) {
      await wait(150)
      expect(typeof (await store().load(id, 300))).toBe('object')
    }
    await wait(150)
    expect(typeof (await store().load(id, 0))).toBe('object')
    await wait(200)
    expect(await load(id)).toBe('absent')
  })

  test('a visit writes nothing until a sixtieth of the idle time has passed', async () => {
    const { id } = await made({ idleMs: 12 * SECOND })
    const expiry = async () => (await store().describe(nonce(), [id.handle]))[0]?.expiresAt ?? 0
    const first = await expiry()
    await store().load(id, 12 * SECOND)
    expect(await expiry()).toBe(first)
    await wait(210)
    await store().load(id, 12 * SECOND)
    expect(await expiry()).toBeGreaterThanOrEqual(first + 200_000)
    // Another idle time counts at once.
    await store().load(id, 6 * SECOND)
    expect(await expiry()).toBeLessThan(first)
  })

  test('no load and no write moves the absolute clock', async () => {
    const { id, creation } = await made({ absoluteMs: 400, idleMs: 300 })
    const { deadlineAt } = await loaded(id)
    await wait(150)
    await store().save(id.handle, creation, { set: [['a', text('2')]], removed: [], idleMs: 10 * SECOND })
    expect((await loaded(id)).deadlineAt).toBe(deadlineAt)
    const next = newId(undefined, id.handle)
    await store().rotate(id.handle, rotationOf(creation, next))
    expect((await loaded(next)).deadlineAt).toBe(deadlineAt)
    await wait(260)
    expect(await load(next)).toBe('absent')
  })

  test('a session of a subject is loaded while its epoch is the current one', async () => {
    const tag = nonce()
    const [one, two] = [await signedIn(tag), await signedIn(tag)]
    expect(one.epoch).toBe(two.epoch)
    await loaded(one.id)
    expect(await store().revokeAll(tag, { epoch: nonce(), keepMs: 100 * SECOND, except: undefined })).toBe(2)
    for (const { id } of [one, two]) expect(await load(id)).toBe('absent')
    expect(await store().handles(tag)).toEqual([])
    const three = await signedIn(tag)
    await loaded(three.id)
  })

  test('a subject whose record is gone has no session: nobody is signed in by an eviction', async () => {
    const [tag, epoch] = [nonce(), nonce()]
    const id = newId(tag)
    expect(await store().create(id.handle, creationOf(id, { tag, epoch }))).toBe('revoked')
    // As if the record had been there.
    const other = newId(tag)
    expect(await store().create(other.handle, creationOf(other, { epoch }))).toBe('created')
    for (const each of [id, other]) expect(await load(each)).toBe('absent')
  })

  test('after a revocation of all nothing is written for a session that was loaded before, and none is made of it', async () => {
    const [tag, other] = [nonce(), nonce()]
    const { id, creation, epoch } = await signedIn(tag)
    const late = newId(tag)
    await store().admit(tag, entryOf(late.handle))
    const elsewhere = await store().admit(other, entryOf(id.handle))
    await store().revokeAll(tag, { epoch: nonce(), keepMs: 100 * SECOND, except: undefined })
    const change = { set: [['a', text('9')]] as const, removed: [], idleMs: 10 * SECOND }
    expect(await store().save(id.handle, creation, change)).toBe('ended')
    // The same subject, another one that is signed in instead, and none.
    for (const next of [
      { tag, epoch },
      { tag: other, epoch: elsewhere.epoch },
      { tag: undefined, epoch: '-'.repeat(22) },
    ]) {
      const own = { ...next, owner: owner() }
      const result = await store().rotate(id.handle, rotationOf(creation, newId(next.tag, id.handle), own))
      // The first has gone into a record that nobody loads, where subjects are elsewhere.
      expect(result).toMatch(isSpread ? /^(ended|moved)$/ : /^ended$/)
    }
    expect(await store().create(late.handle, creationOf(late, { tag, epoch }))).toBe('revoked')
    for (const each of [id, late]) expect(await load(each)).toMatch(isSpread ? /^(absent|moved)$/ : /^absent$/)
  })

  test('a sign-in is refused where everything of that subject was revoked since its admission; the session stays', async () => {
    const tag = nonce()
    const { id, creation } = await made()
    const { epoch } = await store().admit(tag, entryOf(id.handle))
    await store().revokeAll(tag, { epoch: nonce(), keepMs: 100 * SECOND, except: undefined })
    const next = newId(tag, id.handle)
    const own = { tag, epoch, owner: owner() }
    expect(await store().rotate(id.handle, rotationOf(creation, next, own))).toBe('revoked')
    expect(await load(next)).toBe('absent')
    // It is known too late for that elsewhere, and nobody is signed in all the same.
    const reply = await load(id)
    expect(typeof reply === 'string' ? reply : valuesOf(reply)).toEqual(isSpread ? 'moved' : { a: '1' })
  })

  test('what a revocation spares is written as before, by requests from before its rotation, too', async () => {
    const tag = nonce()
    const { id, creation, epoch } = await signedIn(tag)
    const revoke = async (spared: string) => {
      const next = nonce()
      await store().revokeAll(tag, { epoch: next, keepMs: 100 * SECOND, except: { handle: id.handle, epoch: spared } })
      return next
    }
    const write = (name: string) =>
      store().save(id.handle, creation, { set: [[name, text('1')]], removed: [], idleMs: 0 })
    const second = await revoke(epoch)
    expect(await write('b')).toBe('saved')
    const next = newId(tag, id.handle)
    await store().rotate(id.handle, rotationOf(creation, next, { epoch: second }))
    await revoke(second)
    expect(await write('c')).toBe('saved')
    expect(valuesOf(await loaded(next))).toEqual({ a: '1', b: '1', c: '1' })
  })

  test('a revocation spares one session, if that is valid then; a second one spares it again, or not', async () => {
    const tag = nonce()
    const [kept, other] = [await signedIn(tag), await signedIn(tag)]
    const revoke = async (except?: { id: SessionId; epoch: string }) =>
      store().revokeAll(tag, {
        ...{ epoch: nonce(), keepMs: 100 * SECOND },
        except: except && { handle: except.id.handle, epoch: except.epoch },
      })
    expect(await revoke(kept)).toBe(1)
    await loaded(kept.id)
    expect(await load(other.id)).toBe('absent')
    expect(await store().handles(tag)).toEqual([kept.id.handle])
    // It was ended, so it cannot be spared.
    expect(await revoke(other)).toBe(1)
    expect(await load(kept.id)).toBe('absent')
    expect(await load(other.id)).toBe('absent')
    const again = await signedIn(tag)
    await revoke(again)
    await revoke(again)
    await loaded(again.id)
    await revoke()
    expect(await load(again.id)).toBe('absent')
  })

  test('an admission says when everything was revoked, by the clock of the subject', async () => {
    const tag = nonce()
    const first = await store().admit(tag, entryOf(nonce()))
    expect(first.revokedAt).toBe(0)
    await store().revokeAll(tag, { epoch: nonce(), keepMs: 100 * SECOND, except: undefined })
    const second = await store().admit(tag, entryOf(nonce()))
    expect(second.revokedAt).toBeGreaterThanOrEqual(first.now)
    expect(second.revokedAt).toBeLessThanOrEqual(second.now)
    expect(second.epoch).not.toBe(first.epoch)
  })

  test('the index is in the order of sign-ins, names members beyond the limit, and forgets what has lapsed', async () => {
    const tag = nonce()
    const handles = [nonce(), nonce(), nonce()]
    const replies = []
    for (const handle of handles) replies.push(await store().admit(tag, entryOf(handle, { max: 2 })))
    expect(replies.map(({ members }) => members.map(({ handle }) => handle))).toEqual([[], [], handles])
    expect(await store().handles(tag)).toEqual(handles)
    expect([await store().has(tag, handles[0]!), await store().has(tag, nonce())]).toEqual([true, false])
    await store().withdraw(tag, [handles[1]!, nonce()])
    expect(await store().handles(tag)).toEqual([handles[0], handles[2]])
    const short = nonce()
    await store().admit(tag, entryOf(short, { lifeMs: 1 }))
    await wait(20)
    await store().admit(tag, entryOf(nonce()))
    expect(await store().has(tag, short)).toBe(false)
  })

  test('a session that is in the index of a subject, and bound to another or to none, is not described as its own', async () => {
    const [tag, other] = [nonce(), nonce()]
    const { id } = await signedIn(tag)
    const anonymous = await made()
    const handles = [id.handle, anonymous.id.handle, nonce()]
    for (const handle of handles) await store().admit(other, entryOf(handle))
    const bound = async (of: string) => (await store().describe(of, handles)).map((found) => found?.isBound)
    expect(await bound(other)).toEqual([false, false, undefined])
    expect(await bound(tag)).toEqual([true, false, undefined])
    const listed = await Promise.all(handles.map(async (handle) => store().has(other, handle)))
    expect(listed).toEqual([false, false, true])
    expect(await store().has(tag, id.handle)).toBe(true)
    // Of a subject without a record, as after an eviction, there is none.
    expect(await bound(nonce())).toEqual([false, false, undefined])
    expect(await store().describe(tag, [])).toEqual([])
    const { epoch } = await loaded(id)
    await store().revokeAll(tag, { epoch: nonce(), keepMs: 100 * SECOND, except: { handle: id.handle, epoch } })
    expect(await bound(tag)).toEqual([true, false, undefined])
    await store().revokeAll(tag, { epoch: nonce(), keepMs: 100 * SECOND, except: undefined })
    expect(await bound(tag)).toEqual([false, false, undefined])
  })

  test('a description has times and descriptor, near the absolute deadline as well', async () => {
    const tag = nonce()
    const { id } = await signedIn(tag)
    const { now } = await loaded(id)
    const [described] = await store().describe(tag, [id.handle])
    expect(described).toMatchObject({ descriptor: 'Firefox', isBound: true })
    // A load writes nothing before a sixtieth of the idle time has passed.
    expect(described!.seenAt).toBeLessThanOrEqual(now)
    expect(described!.seenAt).toBeGreaterThan(now - 10_000_000 / 60)
    expect(described!.expiresAt - described!.seenAt).toBeGreaterThanOrEqual(10_000_000)
    expect(described!.expiresAt - described!.seenAt).toBeLessThan(10_200_000)
    const clipped = await made({ absoluteMs: 20 * SECOND, idleMs: 20 * SECOND })
    const record = await loaded(clipped.id)
    await store().load(clipped.id, 19_990)
    const [later] = await store().describe(tag, [clipped.id.handle])
    expect(later!.seenAt).toBeGreaterThanOrEqual(record.now)
    expect(later!.expiresAt).toBeLessThanOrEqual(record.deadlineAt)
  })
}
