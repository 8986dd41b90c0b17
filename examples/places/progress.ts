import type { WriteStream } from 'node:tty'

/** A line that counts up: rewritten on a terminal, one line for each half elsewhere. */
export function progressLine(out: WriteStream, label: string): (done: number, total: number) => void {
  const startedAt = performance.now()
  let written = -1
  return (done, total) => {
    const percent = total === 0 ? 100 : Math.floor((100 * done) / total)
    const step = out.isTTY ? percent : Math.floor(percent / 50)
    if (step === written) return
    written = step
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
    const line = `${label}: ${done.toLocaleString('en')} of ${total.toLocaleString('en')} (${percent} %), ${seconds} s`
    out.write(out.isTTY ? `\r${line}${done === total ? '\n' : ''}` : `${line}\n`)
  }
}
