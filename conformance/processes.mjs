import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

const running = new Set()
process.once('exit', () => running.forEach((child) => child.kill('SIGKILL')))

/** Starts a Node program. Resolves when its first line is there, with it; the program is ended with this process. */
export async function start(args, options = {}) {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options })
  const exited = once(child, 'exit')
  running.add(child)
  const log = []
  child.stderr.on('data', (chunk) => log.push(chunk))
  const lines = createInterface({ input: child.stdout })
  const first = await Promise.race([once(lines, 'line'), exited.then(() => undefined)])
  if (first === undefined) throw new Error(`${args.join(' ')} ended at once:\n${Buffer.concat(log).toString()}`)
  child.stdout.resume()
  const stop = async () => {
    running.delete(child)
    if (child.exitCode === null) child.kill('SIGTERM')
    await exited
  }
  return { line: first[0], log: () => Buffer.concat(log).toString(), stop }
}

/** Runs a Node program to its end. Gives what it printed. */
export async function collect(args, options = {}) {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'], ...options })
  running.add(child)
  const chunks = []
  child.stdout.on('data', (chunk) => chunks.push(chunk))
  const [code] = await once(child, 'close')
  running.delete(child)
  if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}`)
  return Buffer.concat(chunks).toString()
}
