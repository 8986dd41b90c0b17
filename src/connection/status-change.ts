import type { Connection, ConnectionStatus } from './connection.js'

/** Ends when the status is one of those waited for, or at the limit. */
export async function changesTo(
  connection: Pick<Connection, 'onStatus'>,
  wanted: (status: ConnectionStatus) => boolean,
  limitMs: number,
): Promise<void> {
  let finish = (): void => {}
  const finished = new Promise<void>((resolve) => {
    finish = resolve
  })
  const timer = setTimeout(finish, limitMs)
  const unlisten = connection.onStatus((status) => {
    if (wanted(status)) finish()
  })
  await finished
  clearTimeout(timer)
  unlisten()
}
