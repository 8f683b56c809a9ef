package parlor.jolie;

import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.LockSupport;
import jolie.Interpreter;
import jolie.InterpreterException;
import jolie.lang.parse.module.Modules;
import jolie.runtime.Value;

/** One run of a script: what it reads and prints, and what became of it. The services find theirs by the interpreter. */
public final class Run {
  /** How long threads of a run that has come to its end are waited for; with some left, this process is not used again. */
  private static final long PATIENCE_MILLIS = 200;
  /** Characters of what is said of faults. */
  private static final int FAULT_CHARACTERS = 2000;
  private static final Map<Interpreter, Run> RUNS = new ConcurrentHashMap<>();

  private final Library library;
  private final String source;
  private final String argument;
  private final long clock;
  private final Random random;
  private final Output output;
  private final StringBuilder faults = new StringBuilder();

  /** To be made. {@code most} bytes may be printed. */
  Run(Library library, String source, String argument, long clock, long seed, int most) {
    this.library = library;
    this.source = source;
    this.argument = argument;
    this.clock = clock;
    this.random = new Random(seed);
    this.output = new Output(most);
  }

  /** The run that an interpreter belongs to, also one that is embedded; null when it is over. */
  public static Run of(Interpreter interpreter) {
    Interpreter root = interpreter;
    while (root != null && root.parentInterpreter() != null) {
      root = root.parentInterpreter();
    }
    return root == null ? null : RUNS.get(root);
  }

  /** What it prints goes there. */
  public Output output() {
    return output;
  }

  /** When its message was sent, in milliseconds since 1970: the time of day that it sees. */
  public long clock() {
    return clock;
  }

  /** Its random numbers, the same for the same message. */
  public Random random() {
    return random;
  }

  /** Remembers a fault that nobody handled. */
  void fault(String words) {
    synchronized (faults) {
      if (faults.length() + words.length() < FAULT_CHARACTERS) {
        faults.append(faults.length() == 0 ? "" : "; ").append(words);
      }
    }
  }

  /** Makes it. */
  Answer make() {
    // The parser keeps modules by name, and all scripts have the same.
    Modules.freeCache(library.script().toURI());
    int before = Thread.activeCount();
    Interpreter interpreter = null;
    String refusal = null;
    try {
      interpreter =
          new Interpreter(
              library.configuration(source, argument),
              library.script().getParentFile(),
              Optional.<Value>empty(),
              Optional.<String>empty());
      RUNS.put(interpreter, this);
      Log.to(this);
      interpreter.run();
    } catch (InterpreterException refused) {
      refusal = Log.refusal(refused);
    } catch (Exception | StackOverflowError broken) {
      fault(broken.toString());
    } finally {
      if (interpreter != null) {
        interpreter.exit(0);
        RUNS.remove(interpreter);
      }
      Log.to(null);
    }
    return answer(refusal, before);
  }

  private Answer answer(String refusal, int before) {
    boolean spoilt = haveStayed(before);
    byte[] printed = output.close();
    String words = refusal == null ? faults.toString() : refusal;
    int status = Answer.DONE;
    if (refusal != null) {
      status = Answer.COMPILE;
    } else if (output.isOver()) {
      status = Answer.OUTPUT;
    } else if (!words.isEmpty()) {
      status = Answer.FAULT;
    }
    return Answer.ran(status, spoilt, words, printed);
  }

  /** Whether threads of this run are still there after a while. */
  private static boolean haveStayed(int before) {
    long until = System.nanoTime() + PATIENCE_MILLIS * 1_000_000;
    while (Thread.activeCount() > before) {
      if (System.nanoTime() > until) {
        return true;
      }
      Thread.onSpinWait();
      LockSupport.parkNanos(100_000);
    }
    return false;
  }
}
