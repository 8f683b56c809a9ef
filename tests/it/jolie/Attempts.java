package parlor.jolie;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.File;
import java.io.FileOutputStream;
import java.lang.reflect.Field;
import java.net.DatagramSocket;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.concurrent.Callable;
import java.util.concurrent.locks.LockSupport;

/**
 * Stands in the place of the real host, as if a script had broken out of its interpreter: tries what a Java process could
 * do to anybody, and says what came of it.
 */
public final class Host {
  private static final StringBuilder REPORT = new StringBuilder();
  private static final int CHECK = 2;
  private static final int FINE = 0;
  private static final int REFUSED = 2;

  private Host() {}

  public static void main(String[] arguments) throws Exception {
    DataInputStream input = new DataInputStream(System.in);
    DataOutputStream output = new DataOutputStream(System.out);
    output.write(new byte[] {0, 0, 0, 1, 0});
    output.flush();
    // The first question is the trial check of the pool, whose source is right.
    for (boolean trial = true; ; trial = false) {
      input.readNBytes(input.readInt());
      if (!trial) {
        all();
      }
      byte[] words = REPORT.toString().getBytes(StandardCharsets.UTF_8);
      output.writeInt(3 + 16 + 4 + words.length + 4);
      output.write(new byte[] {CHECK, (byte) (trial ? FINE : REFUSED), 0});
      output.write(new byte[16]);
      output.writeInt(words.length);
      output.write(words);
      output.writeInt(0);
      output.flush();
    }
  }

  private static void all() {
    attempt("files", () -> Arrays.toString(sorted(new File("/").list())));
    attempt("passwd", () -> Files.readString(Path.of("/etc/passwd")));
    attempt("see-passwd", () -> new File("/etc/passwd").exists() ? "there" : "nothing");
    attempt("processes", () -> new File("/proc/1").exists() ? "there" : "nothing");
    attempt("write", () -> write("/tmp/parlor-attempt"));
    attempt("write-here", () -> write("parlor-attempt"));
    attempt("write-memory", () -> write("/parlor-attempt"));
    attempt("delete", () -> new File("version").delete() ? "deleted" : "nothing");
    attempt("connect", () -> new Socket("127.0.0.1", 9).toString());
    attempt("listen", () -> new ServerSocket(0).toString());
    attempt("datagram", () -> new DatagramSocket().toString());
    attempt("exec", () -> Runtime.getRuntime().exec("/jolie/runtime/bin/java").toString());
    attempt("spawn-helper", () -> new ProcessBuilder("/bin/sh", "-c", "true").start().toString());
    attempt("parent", () -> ProcessHandle.current().parent().map(Object::toString).orElse("nothing"));
    attempt("kill", () -> ProcessHandle.allProcesses().filter(ProcessHandle::destroyForcibly).count() + " killed");
    attempt("environment", () -> String.valueOf(System.getenv().keySet()));
    attempt("memory", Host::memory);
    attempt("threads", Host::threads);
  }

  private static String[] sorted(String[] names) {
    Arrays.sort(names);
    return names;
  }

  private static String write(String path) throws Exception {
    try (FileOutputStream file = new FileOutputStream(path)) {
      file.write(1);
    }
    return "written";
  }

  /** More than it may have, beside the heap, which Java does not count: the kernel has to. */
  private static String memory() throws Exception {
    Class<?> unsafe = Class.forName("sun.misc.Unsafe");
    Field field = unsafe.getDeclaredField("theUnsafe");
    field.setAccessible(true);
    // At once and not bit by bit: where nothing is left, Java ends before it can tell.
    return unsafe.getMethod("allocateMemory", long.class).invoke(field.get(null), 128L * 1024 * 1024).toString();
  }

  /** As many as there can be, beside those that Java has. */
  private static String threads() {
    int count = 0;
    try {
      while (count < 1000) {
        Thread thread = new Thread(null, LockSupport::park, "", 64 * 1024);
        thread.setDaemon(true);
        thread.start();
        count++;
      }
    } catch (OutOfMemoryError none) {
      // That is what Java says when the system makes no more.
    }
    return String.valueOf(count);
  }

  private static void attempt(String name, Callable<String> attempt) {
    String came;
    try {
      came = attempt.call();
    } catch (Throwable refused) {
      came = "refused";
    }
    REPORT.append(name).append(": ").append(came.lines().findFirst().orElse("")).append('\n');
  }
}
