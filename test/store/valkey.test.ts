import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Connection } from '../../src/redis/connection.js'
import { resolveSettings } from '../../src/redis/resolve-settings.js'
import { RedisStore } from '../../src/store/redis-store.js'
import { silentLogger } from '../support/logger.js'
import { type RedisServer, startRedis } from '../support/redis-server.js'
import { storeContract } from './contract.js'

/** Debian's Redis is what everything else runs on; where a Valkey is at hand, the store proves itself on it as well. */
const PROGRAM = process.env['REDWELL_TEST_VALKEY'] ?? 'valkey-server'
const isThere = spawnSync(PROGRAM, ['--version']).status === 0

describe.skipIf(!isThere)(
  `the store on Valkey${isThere ? '' : `: not run, there is no ${PROGRAM} on this machine`}`,
  () => {
    let server: RedisServer
    let lines: readonly [Connection, Connection]

    async function connect(): Promise<Connection> {
      const connection = new Connection(resolveSettings({ url: server.url, commandTimeout: '5s' }, {}), silentLogger)
      await connection.connect()
      return connection
    }

    beforeAll(async () => {
      server = await startRedis({ executable: PROGRAM })
      lines = [await connect(), await connect()]
    })

    afterAll(async () => {
      await Promise.all(lines.map((line) => line.close()))
      await server.close()
    })

    test('the server says that it is one', async () => {
      expect(String(await lines[0].execute(['INFO', 'server'], undefined))).toContain('valkey_version')
    })

    storeContract('valkey', async () => {
      const prefix = `test:${randomUUID()}`
      const [line, otherLine] = lines
      return {
        store: new RedisStore(line, prefix),
        other: new RedisStore(otherLine, prefix),
        loseGroup: async (group) => void (await line.execute(['DEL', `${prefix}:group:${group}`], undefined)),
        loseClock: async () => void (await line.execute(['DEL', `${prefix}:clock`], undefined)),
        outlive: (ms) => new Promise((resolve) => setTimeout(resolve, ms + 5)),
        close: async () => {},
      }
    })
  },
)
