export interface Book {
  readonly id: string
  readonly title: string
  readonly author: string
}

/** A lending library. Every question takes its time, as one to a database does. */
export class Library {
  readonly #books = new Map<string, Book>()
  readonly #lent = new Map<string, string>()
  /** Questions so far: what the cache saves shows here. */
  questions = 0

  constructor(books: readonly Book[] = SHELF) {
    for (const book of books) this.#books.set(book.id, book)
  }

  async search(author?: string): Promise<readonly Book[]> {
    await this.#ask()
    return [...this.#books.values()].filter((book) => author === undefined || book.author === author)
  }

  async find(id: string): Promise<Book | undefined> {
    await this.#ask()
    return this.#books.get(id)
  }

  async save(book: Book): Promise<Book> {
    await this.#ask()
    this.#books.set(book.id, book)
    return book
  }

  async remove(id: string): Promise<boolean> {
    await this.#ask()
    return this.#books.delete(id)
  }

  async lend(id: string, reader: string): Promise<boolean> {
    await this.#ask()
    if (!this.#books.has(id) || this.#lent.has(id)) return false
    this.#lent.set(id, reader)
    return true
  }

  async loansOf(reader: string): Promise<readonly string[]> {
    await this.#ask()
    return [...this.#lent].filter(([, who]) => who === reader).map(([id]) => id)
  }

  async #ask(): Promise<void> {
    this.questions += 1
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

const SHELF: readonly Book[] = [
  { id: 'solaris', title: 'Solaris', author: 'lem' },
  { id: 'eden', title: 'Eden', author: 'lem' },
  { id: 'roadside', title: 'Roadside Picnic', author: 'strugatsky' },
]
