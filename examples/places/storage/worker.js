// @ts-check
// The thread that Postgres runs in. JavaScript, because a thread is started without the loader that reads TypeScript.
import { parentPort, workerData } from 'node:worker_threads'
import { PGlite } from '@electric-sql/pglite'
import { pg_trgm } from '@electric-sql/pglite/contrib/pg_trgm'

/** @typedef {{ id: number, sql: string, values?: unknown[], blob?: Blob, script?: boolean }} Order */

if (parentPort === null) throw new Error('This is a thread: see thread.ts')
const port = parentPort
const pg = await PGlite.create({ dataDir: workerData.folder, extensions: { pg_trgm } })

/** @param {Order} order */
async function run({ sql, values, blob, script }) {
  if (script) await pg.exec(sql)
  const { rows } = script ? { rows: [] } : await pg.query(sql, values, { blob })
  return rows
}

/** @param {Order | 'close'} order */
async function obey(order) {
  if (order === 'close') {
    await pg.close()
    port.close()
    return
  }
  try {
    port.postMessage({ id: order.id, rows: await run(order) })
  } catch (error) {
    port.postMessage({ id: order.id, problem: error instanceof Error ? error.message : String(error) })
  }
}

port.on('message', (order) => void obey(order))
port.postMessage('ready')
