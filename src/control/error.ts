/**
 * A control operation that failed. The message is one sentence of its own; `code` is the errno's name, for
 * callers that know more of the context and say it better.
 */
export class ControlError extends Error {
  override readonly name = 'ControlError';
  /** "ENXIO" ..., or "ENOTTY" where the path is on no rmapfs mount, or "EPROTO" for an answer that cannot be right. */
  readonly code: string;
  /** What was done: "open", "poison" ... */
  readonly op: string;

  constructor(code: string, op: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.op = op;
  }
}

/** The errno name that an error of Node, of an addon or of ours carries, or ''. */
export function errnoNameOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : '';
}
