import { mkdir, open, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'

/** The embedded database is one process's: two would destroy its files. Gives the way to release it. */
export async function lockFolder(folder: string): Promise<() => Promise<void>> {
  await mkdir(folder, { recursive: true })
  const file = join(folder, 'lock')
  const release = () => rm(file, { force: true })
  if (await create(file)) return release
  const holder = Number(await readFile(file, 'utf8').catch(() => ''))
  if (isRunning(holder)) throw new DataInUseError(file, holder)
  // Whoever made it was killed.
  await release()
  if (await create(file)) return release
  throw new DataInUseError(file, holder)
}

async function create(file: string): Promise<boolean> {
  try {
    const handle = await open(file, 'wx')
    await handle.writeFile(String(process.pid))
    await handle.close()
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

function isRunning(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0 || pid === process.pid) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

export class DataInUseError extends Error {
  override readonly name = 'DataInUseError'
  readonly code = 'ERR_PLACES_IN_USE'

  constructor(file: string, pid: number) {
    super(
      `Process ${pid} has the data open. Stop it, or give this one a folder of its own: PLACES_DATA=.data/places-2. ` +
        `(If process ${pid} is something else, remove ${file}.)`,
    )
  }
}
