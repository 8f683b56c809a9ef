package parlor.jolie;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;

/** What a run prints, up to a bound. */
public final class Output {
  private final ByteArrayOutputStream kept = new ByteArrayOutputStream(1024);
  private final int most;
  private boolean over;
  private boolean closed;

  /** An empty one for at most so many bytes. */
  public Output(int most) {
    this.most = most;
  }

  /** Appends. What goes beyond the bound is left out, and counts against the run. What comes after its end is lost. */
  public synchronized void print(String text) {
    if (closed || over) {
      return;
    }
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    if (bytes.length > most - kept.size()) {
      over = true;
    } else {
      kept.write(bytes, 0, bytes.length);
    }
  }

  synchronized boolean isOver() {
    return over;
  }

  synchronized byte[] close() {
    closed = true;
    return kept.toByteArray();
  }
}
