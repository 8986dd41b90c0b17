import { createHash, randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { evaluate, type Script } from '../../src/redis/command.js'
import { open, ownServer } from './open.js'

function script(source: string): Script {
  return { name: 'test', keyCount: 1, source, sha1: createHash('sha1').update(source).digest('hex') }
}

async function setUp() {
  const server = await ownServer()
  const { connection } = open({ url: server.url, commandTimeout: '5s' })
  await connection.connect()
  const sent: string[] = []
  const line = {
    ask: (...asked: Parameters<typeof connection.ask>) => {
      sent.push(String(asked[0][0]))
      connection.ask(...asked)
    },
  }
  return { line, sent, connection }
}

test('a script is sent in full once, and named by its digest from then on', async () => {
  const { line, sent } = await setUp()
  const echo = script(`return {KEYS[1], ARGV[1], '${randomUUID()}'}`)
  const bytes = Buffer.from([0xff, 0x00])
  for (let i = 0; i < 2; i++) {
    const reply = (await evaluate(line, echo, ['k'], [bytes])) as Buffer[]
    expect(reply.slice(0, 2)).toEqual([Buffer.from('k'), bytes])
  }
  expect(sent).toEqual(['EVALSHA', 'EVAL', 'EVALSHA'])
})

test('a server that forgot its scripts is told again', async () => {
  const { line, sent, connection } = await setUp()
  const one = script('return 1')
  await evaluate(line, one, ['k'], [])
  await connection.execute(['SCRIPT', 'FLUSH'], undefined)
  expect(await evaluate(line, one, ['k'], [])).toBe(1)
  expect(sent).toEqual(['EVALSHA', 'EVAL', 'EVALSHA', 'EVAL'])
})

test('an error of the script itself is passed on, and not tried again', async () => {
  const { line, sent } = await setUp()
  const wrong = script(`return redis.error_reply('WRONG way')`)
  await evaluate(line, wrong, ['k'], []).catch(() => {})
  await expect(evaluate(line, wrong, ['k'], [])).rejects.toThrow(/^WRONG way/)
  expect(sent).toEqual(['EVALSHA', 'EVAL', 'EVALSHA'])
})
