/** Why a room does not go to another relay. */

export type MoveFault =
  | "already_there"
  | "no_copy"
  | "other_log"
  | "copy_lacks"
  | "copy_changed"
  /** The relay says that another one is to order the room. */
  | "other_meant"
  /** Its operator does not allow it, or by its copy this member may not do that. */
  | "not_taken"
  /** More often than a room may be in one epoch of its key. */
  | "moved_often"
  /** It can not take it yet, for too long. */
  | "copy_busy"
  /** One by force was signed that may stand somewhere: it would take this one back. */
  | "term_signed"
  /** It was sent, and nobody knows whether it stands. */
  | "unanswered";

/** The room does not go there. */
export class NotMoved extends Error {
  override readonly name = "NotMoved";

  constructor(readonly fault: MoveFault) {
    super(`the room is not moved: ${fault.replaceAll("_", " ")}`);
  }
}
