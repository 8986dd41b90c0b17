export interface User {
  readonly name: string
  readonly password: string
  /** May change products. */
  readonly isStaff: boolean
}

/** For the demonstration. A real shop keeps a salted hash of each password. */
const USERS: readonly User[] = [
  { name: 'ada', isStaff: true, password: 'ada-secret' },
  { name: 'bob', isStaff: false, password: 'bob-secret' },
]

/** Returns the user if the password is right. */
export function verify(name: string, password: string): User | undefined {
  return USERS.find((user) => user.name === name && user.password === password)
}

export function isStaff(name: string | undefined): boolean {
  return USERS.some((user) => user.name === name && user.isStaff)
}
