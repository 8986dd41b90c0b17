/** Exit codes of the command. */
export const EXIT = {
  ok: 0,
  /** A problem was found, nothing was found, or Redis did not confirm. */
  no: 1,
  /** Arguments or settings are wrong. */
  usage: 2,
  /** Redis could not be reached. */
  unavailable: 3,
  /** Ctrl-C, as shells report it. */
  interrupted: 130,
} as const
