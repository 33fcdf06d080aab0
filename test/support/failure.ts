/** What a call throws, as plain data. Fails when it does not throw. */
export function failure(call: () => unknown): {
  code: string;
  errno: number;
  syscall: string;
  message: string;
} {
  try {
    call();
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const { code, errno, syscall, message } = error as Error & {
      code: string;
      errno: number;
      syscall: string;
    };
    return { code, errno, syscall, message };
  }
  throw new Error('the call did not throw');
}
