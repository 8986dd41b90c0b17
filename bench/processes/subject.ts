// One variant of one row, in a process of its own, so that its CPU time is its own.
// Arguments: the row's module, the variant's name.
import { serve } from '../harness/rpc.js'
import type { Params, Row, Running } from '../harness/row.js'

const [, , module = '', name = ''] = process.argv
const { default: row } = (await import(module)) as { default: Row }

let running: Running | undefined

serve({
  async start(params: Params) {
    const subject = row.subjects?.[name]
    if (subject === undefined) throw new Error(`${row.id} has no variant ${name}`)
    running = await subject(params)
    return running.port
  },
  /** Microseconds of CPU this process has used, of all its threads. */
  cpu() {
    const { user, system } = process.cpuUsage()
    return user + system
  },
  run: (ms: number) => running?.run?.(ms),
  ask: (question: unknown) => running?.answer?.(question),
})
