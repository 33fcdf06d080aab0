import { FsError } from '../errors.js';
import { REPORTS_KEPT_MAX, REPORTS_KEPT_MAX_BYTES } from '../limits.js';

interface Report {
  readonly json: Buffer;
  /** Only for those who may ask for owners. */
  readonly privileged: boolean;
}

/** A part of a document. */
export interface ReportPage {
  id: number;
  /** Bytes of the whole document. */
  total: number;
  data: Buffer;
}

/**
 * JSON documents that readers page through by an ioctl. At most REPORTS_KEPT_MAX of REPORTS_KEPT_MAX_BYTES: the oldest
 * goes, and its reader gets ESTALE. What anybody may ask for and what only some may are counted apart, so that nobody
 * drives out what he could not have read.
 */
export class ReportStore {
  readonly #byId = new Map<number, Report>();
  /** Parts of documents that have not come yet. */
  readonly #owners = new Map<number, string>();
  #last = 0;

  /**
   * An id for a document that comes later by put(). `owners`: the JSON of its field "owners", which it then comes
   * without. Many owners as text are megabytes: the thread that writes the rest does not need them.
   */
  reserve(owners?: string): number {
    this.#last += 1;
    if (owners !== undefined) {
      this.#owners.set(this.#last, owners);
      // Those of a failure that was never reported would stay for good.
      const oldest = this.#owners.keys().next();
      if (this.#owners.size > REPORTS_KEPT_MAX && !oldest.done) this.#owners.delete(oldest.value);
    }
    return this.#last;
  }

  put(id: number, json: string, privileged: boolean): void {
    const owners = this.#owners.get(id);
    this.#owners.delete(id);
    const whole = owners === undefined ? json : `{"owners":${owners},${json.slice(1)}`;
    this.#byId.set(id, { json: Buffer.from(whole), privileged });
    // A Map keeps the order of insertion.
    const alike = [...this.#byId].filter(([, report]) => report.privileged === privileged);
    let bytes = alike.reduce(
      (
        sum,
        [
          ,
          {
            json: { length },
          },
        ],
      ) => sum + length,
      0,
    );
    let count = alike.length;
    for (const [oldest, report] of alike) {
      if ((count <= REPORTS_KEPT_MAX && bytes <= REPORTS_KEPT_MAX_BYTES) || oldest === id) break;
      this.#byId.delete(oldest);
      bytes -= report.json.length;
      count -= 1;
    }
  }

  /** At most `most` bytes from `offset` on; the document is dropped with its last byte. */
  page(id: number, offset: number, most: number, mayAll: boolean): ReportPage {
    const report = this.#byId.get(id);
    if (report === undefined) throw new FsError('ESTALE', 'report', `there is no document ${id} any more`);
    if (report.privileged && !mayAll)
      throw new FsError('EPERM', 'report', `document ${id} is not for everybody`);
    const total = report.json.length;
    if (offset > total) throw new FsError('EINVAL', 'report', `offset ${offset} in ${total} bytes`);
    const data = report.json.subarray(offset, offset + most);
    if (offset + data.length === total) this.#byId.delete(id);
    return { id, total, data };
  }
}
