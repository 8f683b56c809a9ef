package parlor.jolie;

import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;

/** What a run or a check came to. */
final class Answer {
  /** It came to its end. */
  static final int DONE = 0;
  /** A fault that the script did not handle. */
  static final int FAULT = 1;
  /** The source does not compile. */
  static final int COMPILE = 2;
  /** It printed more than it may. */
  static final int OUTPUT = 3;

  private final int status;
  private final boolean spoilt;
  private final int line;
  private final int column;
  private final String words;
  private final byte[] printed;

  private Answer(int status, boolean spoilt, int line, int column, String words, byte[] printed) {
    this.status = status;
    this.spoilt = spoilt;
    this.line = line;
    this.column = column;
    this.words = words;
    this.printed = printed;
  }

  /** A run that came to its end, or to a fault, described by {@code words}. */
  static Answer ran(int status, boolean spoilt, String words, byte[] printed) {
    return new Answer(status, spoilt, 0, 0, words, printed);
  }

  /** A source that compiles. */
  static Answer fine() {
    return new Answer(DONE, false, 0, 0, "", new byte[0]);
  }

  /** A source that does not; 0 for a place that is not known. */
  static Answer refused(int line, int column, String words) {
    return new Answer(COMPILE, false, line, column, words, new byte[0]);
  }

  /** Writes it as a frame. */
  void write(DataOutputStream output, int kind) throws IOException {
    byte[] bytes = words.getBytes(StandardCharsets.UTF_8);
    long heap = Runtime.getRuntime().totalMemory() - Runtime.getRuntime().freeMemory();
    output.writeInt(3 + 8 + 8 + 4 + bytes.length + 4 + printed.length);
    output.writeByte(kind);
    output.writeByte(status);
    output.writeByte(spoilt ? 1 : 0);
    output.writeInt(line);
    output.writeInt(column);
    output.writeLong(heap);
    output.writeInt(bytes.length);
    output.write(bytes);
    output.writeInt(printed.length);
    output.write(printed);
  }
}
