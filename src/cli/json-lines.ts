/** A place where a text stops being JSON. */
class NotJson extends Error {
  readonly line: number;
  constructor(line: number) {
    super(`no JSON in line ${line}`);
    this.line = line;
  }
}

const SCALAR = /(?:true|false|null|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|"(?:[^"\\\n]|\\.)*")/y;

/** Walks through a JSON text: JSON.parse tells neither lines nor, for a short text, where an error is. */
class Walk {
  /** 1-based lines by path. */
  readonly lines = new Map<string, number>();
  readonly #text: string;
  #at = 0;
  #line = 1;

  constructor(text: string) {
    this.#text = text;
  }

  whole(): void {
    this.#value([]);
    this.#skip();
    if (this.#at < this.#text.length) throw new NotJson(this.#line);
  }

  #skip(): void {
    for (; /\s/.test(this.#text.charAt(this.#at)); this.#at++)
      if (this.#text[this.#at] === '\n') this.#line++;
  }

  #take(character: string): boolean {
    this.#skip();
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #scalar(): string {
    SCALAR.lastIndex = this.#at;
    const found = SCALAR.exec(this.#text);
    if (found === null) throw new NotJson(this.#line);
    this.#at += found[0].length;
    return found[0];
  }

  #value(path: readonly (string | number)[]): void {
    this.#skip();
    // A field is where its name is.
    if (!this.lines.has(path.join('/'))) this.lines.set(path.join('/'), this.#line);
    if (this.#take('{')) this.#members('}', () => this.#field(path));
    else if (this.#take('[')) {
      let index = 0;
      this.#members(']', () => this.#value([...path, index++]));
    } else this.#scalar();
  }

  #field(path: readonly (string | number)[]): void {
    this.#skip();
    const line = this.#line;
    const name = this.#scalar();
    if (!name.startsWith('"') || !this.#take(':')) throw new NotJson(this.#line);
    const field = [...path, JSON.parse(name) as string];
    this.lines.set(field.join('/'), line);
    this.#value(field);
  }

  #members(close: string, member: () => void): void {
    if (this.#take(close)) return;
    do member();
    while (this.#take(','));
    if (!this.#take(close)) throw new NotJson(this.#line);
  }
}

/**
 * Where the values and fields of a JSON text are: 1-based lines by path, keys and array indices joined by '/'. The
 * text must have been parsed without an error before.
 */
export function linesOfJson(text: string): Map<string, number> {
  const walk = new Walk(text);
  walk.whole();
  return walk.lines;
}

/** The line in which a text that JSON.parse refused stops being JSON. */
export function lineOfSyntaxError(text: string): number {
  try {
    new Walk(text.trimEnd()).whole();
  } catch (error) {
    if (error instanceof NotJson) return error.line;
    throw error;
  }
  return 1;
}
