import { expect, test } from 'vitest'
import { chaos, memoryStores } from '../../../src/testing/index.js'
import type { Bed } from '../contract.js'
import type { Line } from '../host.js'

/** A body whose pieces a test lets out one by one. */
class Tap implements AsyncIterable<string> {
  readonly #pieces: (string | Error | undefined)[] = []
  #wake = (): void => {}
  /** Somebody reads it, or has. */
  begun = false
  /** Nobody reads it any more. */
  closed = false

  send(...pieces: (string | Error)[]): this {
    this.#pieces.push(...pieces)
    this.#wake()
    return this
  }

  end(): this {
    this.#pieces.push(undefined)
    this.#wake()
    return this
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<string> {
    this.begun = true
    try {
      for (;;) {
        while (this.#pieces.length === 0) {
          await new Promise<void>((resolve) => {
            this.#wake = resolve
          })
        }
        const piece = this.#pieces.shift()
        if (piece === undefined) return
        if (piece instanceof Error) throw piece
        yield piece
      }
    } finally {
      this.closed = true
    }
  }
}

export function bodies({ host, start }: Bed): void {
  test('binary bodies come back as they were', async () => {
    const bytes = Buffer.from([0, 1, 255, 254, 10, 13])
    const { client } = await start([
      {
        method: 'GET',
        path: '/b',
        cache: { ttl: 60 },
        handler: () => ({ headers: [['content-type', 'image/png']], bytes }),
      },
    ])
    for (const cache of ['MISS', 'HIT']) {
      const answer = await client.get('/b')
      expect([answer.cache, answer.bytes, answer.headers['content-type']]).toEqual([cache, bytes, 'image/png'])
    }
  })

  test('repeated lines and their order are those of the miss', async () => {
    const headers: Line[] = [
      ['link', '</a>; rel=preload'],
      ['x-between', 'b'],
      ['link', '</c>; rel=preload'],
      ['set-cookie', 'a=1'],
      ['set-cookie', 'b=2'],
    ]
    const { client } = await start([
      {
        method: 'GET',
        path: '/l',
        cache: { ttl: 60, setCookie: 'store' },
        handler: () => ({ headers, text: 'x' }),
      },
    ])
    const [miss, hit] = [await client.get('/l'), await client.get('/l')]
    const named = ({ lines }: typeof miss) => lines.filter(([name]) => name === 'link' || name === 'set-cookie')
    expect([miss.cache, hit.cache]).toEqual(['MISS', 'HIT'])
    expect(named(hit)).toEqual(named(miss))
    expect(
      named(hit)
        .filter(([name]) => name === 'set-cookie')
        .map(([, value]) => value),
    ).toEqual(['a=1', 'b=2'])
    const links = named(hit)
      .filter(([name]) => name === 'link')
      .map(([, value]) => value)
    const apart = ['</a>; rel=preload', '</c>; rel=preload']
    expect(links).toEqual(host.traits.repeatsLines ? apart : [apart.join(', ')])
  })

  test('an empty body is an answer like any other', async () => {
    const { client } = await start([
      { method: 'GET', path: '/e', cache: { ttl: 60 }, handler: () => ({ headers: [['x-own', '1']], text: '' }) },
    ])
    for (const cache of ['MISS', 'HIT']) {
      const answer = await client.get('/e')
      expect([answer.status, answer.text, answer.cache, answer.headers['x-own']]).toEqual([200, '', cache, '1'])
    }
  })

  test('a body of a megabyte comes back byte by byte', async () => {
    const bytes = Buffer.alloc(1024 * 1024, 'abcdefghijklmnop')
    const { client } = await start([{ method: 'GET', path: '/m', cache: { ttl: 60 }, handler: () => ({ bytes }) }])
    for (const cache of ['MISS', 'HIT']) {
      const answer = await client.get('/m')
      expect([answer.cache, answer.bytes.equals(bytes)]).toEqual([cache, true])
    }
  })

  test('a stream is passed on while it is captured, and then a HIT', async () => {
    const { client } = await start([
      {
        method: 'GET',
        path: '/s',
        cache: { ttl: 60 },
        handler: () => ({ headers: [['content-type', 'text/plain']], stream: new Tap().send('one ', 'two').end() }),
      },
    ])
    const [miss, hit] = [await client.get('/s'), await client.get('/s')]
    expect([miss.text, miss.cache, hit.text, hit.cache]).toEqual(['one two', 'MISS', 'one two', 'HIT'])
  })

  test('nothing is delayed that would have streamed: each piece arrives before the next is made', async () => {
    const tap = new Tap()
    const { client } = await start([
      {
        method: 'GET',
        path: '/events',
        cache: { ttl: 60 },
        handler: () => ({ headers: [['content-type', 'text/event-stream']], stream: tap }),
      },
    ])
    tap.send('data: 1\n\n')
    const events = await client.open('/events')
    expect(await events.next()).toBe('data: 1\n\n')
    tap.send('data: 2\n\n')
    expect(await events.next()).toBe('data: 2\n\n')
    tap.end()
    expect(await events.next()).toBeUndefined()
  })

  test.runIf(host.traits.headBeforeBody)('the head of a stream that has nothing to say yet is sent', async () => {
    const tap = new Tap()
    const { client } = await start([
      {
        method: 'GET',
        path: '/events',
        cache: { ttl: 60 },
        handler: () => ({ headers: [['content-type', 'text/event-stream']], stream: tap }),
      },
    ])
    const events = await client.open('/events')
    expect(events.message.statusCode).toBe(200)
    tap.send('late').end()
    expect(await events.next()).toBe('late')
  })

  test('a client that goes away ends the stream; the part is not stored, and the next request runs the handler', async () => {
    const taps: Tap[] = []
    const { client } = await start([
      {
        method: 'GET',
        path: '/s',
        cache: { ttl: 60 },
        handler: () => {
          const tap = new Tap().send(`run ${taps.length + 1}, `)
          taps.push(tap)
          return { headers: [['content-type', 'text/plain']], stream: tap }
        },
      },
    ])
    const first = await client.open('/s')
    expect(await first.next()).toBe('run 1, ')
    first.abort()
    // What is written to a socket that is gone is what tells the stream so.
    await expect.poll(() => taps[0]!.send('more ').closed).toBe(true)
    const asking = client.get('/s')
    await expect.poll(() => taps.length).toBe(2)
    taps[1]!.send('whole').end()
    expect(await asking).toMatchObject({ text: 'run 2, whole', cache: 'MISS' })
    expect(await client.get('/s')).toMatchObject({ text: 'run 2, whole', cache: 'HIT' })
  })

  test('the last byte of a streamed body of known length leaves when its variant can be found', async () => {
    const store = chaos(memoryStores()('test')).slow(50, 'put')
    const { client } = await start(
      [
        {
          method: 'GET',
          path: '/x',
          cache: { ttl: 60 },
          handler: (call) => ({
            headers: [
              ['content-type', 'text/plain'],
              ['content-length', '5'],
              ['vary', 'accept-language'],
            ],
            stream: new Tap().send('in ', call.header('accept-language') ?? 'no').end(),
          }),
        },
      ],
      { redis: { store: () => store, commandTimeout: 5 } },
    )
    const ask = (language: string) => client.get('/x', { 'accept-language': language })
    const replies = [await ask('en'), await ask('fr'), await ask('fr'), await ask('en')]
    expect(replies.map(({ text, cache }) => `${text} ${cache}`)).toEqual([
      ...['in en MISS', 'in fr MISS', 'in fr HIT', 'in en HIT'],
    ])
  })

  test('a client that goes away before its answer leaves no lease behind', async () => {
    const releases: (() => void)[] = []
    const { client, redis } = await start([
      {
        method: 'GET',
        path: '/x',
        cache: { ttl: 60 },
        handler: async () => {
          const run = releases.length + 1
          await new Promise<void>((resolve) => releases.push(resolve))
          return `run ${run}`
        },
      },
    ])
    const gone = client.send('/x', {})
    gone.on('error', () => {})
    await expect.poll(() => releases.length).toBe(1)
    gone.destroy()
    releases[0]!()
    await expect.poll(() => redis.scope.fills.size).toBe(0)
    expect(await client.get('/x')).toMatchObject({ text: 'run 1', cache: 'HIT' })
  })

  test('RFC 5861 4: a stored response stands in for a failure that streams, and its stream ends', async () => {
    let now = Date.now()
    const tap = new Tap().send('down ', 'and ', 'more')
    let runs = 0
    const { client, redis } = await start(
      [
        {
          method: 'GET',
          path: '/x',
          cache: { ttl: 10, staleIfError: 60 },
          handler: () => {
            runs += 1
            return runs === 1 ? 'good' : { status: 503, headers: [['content-type', 'text/x']], stream: tap }
          },
        },
      ],
      { redis: { now: () => now } },
    )
    const good = await client.get('/x')
    await redis.cache.settled()
    now += 20_000
    const standIn = await client.get('/x')
    expect([standIn.status, standIn.text, standIn.cache, runs]).toEqual([200, 'good', 'HIT', 2])
    expect(standIn.headers['content-type']).toBe(good.headers['content-type'])
    tap.send('late')
    await expect.poll(() => tap.closed || !tap.begun).toBe(true)
    expect((await client.get('/x')).text).toBe('good')
  })

  test('RFC 9111 3.3: a stream that is shorter than its Content-Length is not stored', async () => {
    let runs = 0
    const { client } = await start([
      {
        method: 'GET',
        path: '/x',
        cache: { ttl: 60 },
        handler: () => {
          runs += 1
          const tap = new Tap().send('sho', 'rt').end()
          return {
            headers: [
              ['content-type', 'text/plain'],
              ['content-length', '10'],
            ],
            stream: tap,
          }
        },
      },
    ])
    // Whether the client sees an error is the framework's business.
    for (let n = 0; n < 2; n += 1) await client.get('/x').catch(() => {})
    expect(runs).toBe(2)
  })

  test('a stream that breaks is not stored', async () => {
    let runs = 0
    const { client } = await start([
      {
        method: 'GET',
        path: '/s',
        cache: { ttl: 60 },
        handler: () => {
          runs += 1
          const tap = new Tap().send('part ')
          const stream = runs === 1 ? breaking(tap) : tap.send('whole').end()
          return { headers: [['content-type', 'text/plain']], stream }
        },
      },
    ])
    const first = await client.get('/s').then(({ text }) => text, String)
    expect(first).toMatch(host.traits.tellsBreaks ? /aborted|hang up|ECONNRESET|closed with error/ : /^part $/)
    expect(await client.get('/s')).toMatchObject({ text: 'part whole', cache: 'MISS' })
    expect(await client.get('/s')).toMatchObject({ text: 'part whole', cache: 'HIT' })
  })

  test('a body over the limit is served whole and not stored', async () => {
    const big = 'x'.repeat(2000)
    const { client } = await start([
      { method: 'GET', path: '/whole', cache: { ttl: 60, maxBodyBytes: 1000 }, handler: () => big },
      {
        method: 'GET',
        path: '/stream',
        cache: { ttl: 60, maxBodyBytes: 1000 },
        handler: () => ({
          headers: [['content-type', 'text/plain']],
          stream: new Tap().send(big.slice(0, 600), big.slice(600)).end(),
        }),
      },
    ])
    for (let round = 0; round < 2; round += 1) {
      const whole = await client.get('/whole')
      expect([whole.text, whole.cache]).toEqual([big, 'BYPASS'])
      const streamed = await client.get('/stream')
      expect([streamed.text, streamed.cache === 'HIT']).toEqual([big, false])
    }
  })
}

/** Fails once its first piece has left. */
async function* breaking(tap: Tap): AsyncGenerator<string> {
  for await (const piece of tap) {
    yield piece
    await new Promise((resolve) => setTimeout(resolve, 20))
    throw new Error('the source broke')
  }
}
