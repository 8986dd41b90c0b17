// The command and the page as they are installed: the packed program against a server, and the page's own files.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createRedis } from 'redwell'
import { dashboard } from 'redwell/dashboard'

const probe = createServer().listen(0, '127.0.0.1')
await once(probe, 'listening')
const { port } = probe.address()
probe.close()
await once(probe, 'close')
const program = process.env.REDWELL_TEST_REDIS_SERVER ?? 'redis-server'
const server = spawn(program, ['--port', String(port), '--bind', '127.0.0.1', '--save', ''], { stdio: 'ignore' })
process.once('exit', () => server.kill('SIGKILL'))

const url = `redis://127.0.0.1:${port}`
const redis = createRedis({ url, prefix: 'smoke', commandTimeout: '5s', connectTimeout: '10s' })
await redis.connect()
const users = redis.cache.namespace('users', { group: 'people' })
for (const id of [1, 2, 3]) await users.set(id, { id })
await redis.cache.set('kept', 1)

/** Prints nothing where all is well: the code, and what is expected in the output. */
async function redwell(args, code, expected) {
  const file = join(process.cwd(), 'node_modules/.bin/redwell')
  const said = await promisify(execFile)(file, [...args, '--url', url, '--prefix', 'smoke']).then(
    ({ stdout }) => ({ code: 0, text: stdout }),
    (error) => ({ code: error.code, text: error.stdout + error.stderr }),
  )
  if (said.code !== code || !expected.test(said.text))
    throw new Error(`redwell ${args.join(' ')}: code ${said.code}\n${said.text}`)
}

await redwell(['doctor'], 0, /permissions: all commands/)
await redwell(['stats'], 0, /1 process/)
await redwell(['keys'], 0, /value:users:1 +value +fresh/)
await redwell(['show', 'value:users:1', '--body'], 0, /"id": 1/)
await redwell(['evict', '--group', 'people'], 2, /--yes/)
await redwell(['evict', '--group', 'people', '--yes'], 0, /Evicted the group people/)
await redwell(['sweep'], 0, /Removed 3 of 4 entries/)
await redwell(['evict', '--key', 'value::kept', '--yes'], 0, /Evicted the entry value::kept/)
await redwell(['keys'], 0, /No entries/)

const panel = dashboard(redis, { guard: () => true })
const open = (path) => panel.fetch(new Request(`http://127.0.0.1/ops/${path}`))
for (const path of ['', 'main.js', 'style.css', 'api/health'])
  if ((await open(path)).status !== 200) throw new Error(`the page has no ${path}`)
panel.close()
await redis.close()
server.kill()
