/**
 * The names by which cached answers are invalidated together. An answer carries the name of everything it shows, and a
 * write names everything it changed.
 */

/** Every answer that shows places; for an operator who has changed the table by hand. */
export const ALL_PLACES = 'places'

/** Lists and sums over all countries. */
export const WORLD = 'world'

/** Lists and sums over one country. */
export function countryGroup(code: string): string {
  return `country:${code}`
}

/** Answers that show one place. */
export function placeGroup(id: number): string {
  return `place:${id}`
}

/** One user's list. */
export function favouritesGroup(user: string): string {
  return `favourites:${user}`
}
