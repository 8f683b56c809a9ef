package parlor.jolie;

import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import jolie.InterpreterException;
import jolie.lang.Constants;

/** What the interpreter says, which is the only way in which it tells of faults that nobody handled. */
final class Log extends Handler {
  private static final Logger INTERPRETER = Logger.getLogger(Constants.JOLIE_LOGGER_NAME);
  private static volatile Run current;
  private static volatile String last = "";

  private Log() {}

  /** From now on it is heard, and not printed. */
  static void capture() {
    INTERPRETER.setUseParentHandlers(false);
    for (Handler handler : INTERPRETER.getHandlers()) {
      INTERPRETER.removeHandler(handler);
    }
    INTERPRETER.addHandler(new Log());
    INTERPRETER.setLevel(Level.INFO);
  }

  /** Whose run it speaks of. */
  static void to(Run run) {
    current = run;
    last = "";
  }

  /** Why a source was refused: the message of the exception says `Exiting`, the log has the words. */
  static String refusal(InterpreterException refused) {
    Throwable cause = refused.getCause();
    String words = cause == null || cause.getMessage() == null ? last : cause.getMessage();
    return words.isEmpty() ? String.valueOf(refused.getMessage()) : words;
  }

  @Override
  public void publish(LogRecord record) {
    String words = String.valueOf(record.getMessage()).strip();
    last = words;
    Run run = current;
    if (run != null) {
      run.fault(words);
    }
  }

  @Override
  public void flush() {}

  @Override
  public void close() {}
}
