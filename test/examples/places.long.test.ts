import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { lockFolder } from '../../examples/places/storage/lock.js'

/** Starting Postgres takes seconds where others compute at the same time. */
const PATIENCE_MS = 120_000

describe('the data', () => {
  let folder: string

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'redwell-places-'))
  })

  afterAll(() => rm(folder, { recursive: true, force: true }))

  test("a lock is one process's, and one that a killed process left is taken over", async () => {
    const release = await lockFolder(folder)
    const { stderr, code } = await serve(['--tour'], { PLACES_DATA: folder })
    expect([code, stderr]).toEqual([1, expect.stringMatching(`^Process ${process.pid} has the data open`)])
    // Our own process id: whoever wrote it before us is gone.
    await (
      await lockFolder(folder)
    )()
    await release()
  })

  test('settings and options that are not valid are said at once', async () => {
    const [port, option, help] = await Promise.all([
      serve([], { PORT: 'http' }),
      serve(['--turo'], {}),
      serve(['--help'], {}),
    ])
    expect(port).toMatchObject({ code: 2, stderr: expect.stringContaining('PORT=http') })
    expect(option).toMatchObject({ code: 2, stderr: expect.stringContaining('--turo') })
    expect(help).toMatchObject({ code: 0, stdout: expect.stringContaining('REDIS_URL') })
  })

  const stores: [string, string | undefined][] = [
    ['the embedded store', 'memory:'],
    ['Redis', process.env['REDWELL_TEST_REDIS_URL']],
  ]

  test.each(stores.filter(([, url]) => url !== undefined))(
    'the tour on %s is as expected, time and again, and loads the data once',
    async (_, url) => {
      const env = { PLACES_DATA: folder, PLACES_LIMIT: '2000', REDIS_PREFIX: `tour-${process.pid}`, REDIS_URL: url }
      const runs = [await serve(['--tour'], env), await serve(['--tour'], env)]
      for (const { code, stdout, stderr } of runs) {
        expect({ code, stdout, stderr }).toMatchObject({
          code: 0,
          stdout: expect.stringMatching(/^\d+ steps, all as expected\.$/m),
        })
        expect(stdout).not.toContain('\u001B')
      }
      expect(runs[1]?.stdout).not.toContain('Loading')
    },
    PATIENCE_MS,
  )
})

const SERVER = fileURLToPath(new URL('../../examples/places/server.ts', import.meta.url))
/** Has `import 'redwell/fastify'` mean the sources, so that this is a test of them. */
const TSCONFIG = fileURLToPath(new URL('../../examples/places/tsconfig.json', import.meta.url))

async function serve(args: string[], env: Record<string, string | undefined>) {
  const { REDIS_URL: _url, PORT: _port, ADMIN_TOKEN: _token, LOG_LEVEL: _level, ...inherited } = process.env
  const options = { env: { ...inherited, TSX_TSCONFIG_PATH: TSCONFIG, ...env }, timeout: PATIENCE_MS }
  try {
    const result = await promisify(execFile)(process.execPath, ['--import', 'tsx', SERVER, ...args], options)
    return { ...result, code: 0 }
  } catch (error) {
    const { stdout, stderr, code } = error as { stdout: string; stderr: string; code: number }
    return { stdout, stderr, code }
  }
}
