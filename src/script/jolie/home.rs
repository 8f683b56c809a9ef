//! The folder with the interpreter, made by `make jolie`: a small Java, the interpreter and its libraries, our part of
//! Java, and what scripts may include.

use std::path::{Path, PathBuf};

/// What our part of Java and this program must agree on; counted up with every change of `wire` or of the folder.
const VERSION: &str = "1";
/// Below the folder of the program's own folder: `/usr/local/bin/parlor` has `/usr/local/lib/parlor/jolie`.
const BESIDE: &str = "lib/parlor/jolie";
/// Below the folder of a user's own data.
const OWN: &str = "parlor/jolie";
/// What must be there beside what is on the class path.
const PARTS: [&str; 5] = ["runtime/bin/java", "extension.jar", "host.jsa", "include/console.iol", "root"];

/// The folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// Where it is.
    pub path: PathBuf,
    /// Libraries of the system that Java needs, and the program that loads them.
    pub libraries: Vec<PathBuf>,
    /// The class path, relative to the folder.
    pub class_path: String,
}

impl Home {
    /// Opens the folder that the settings name, or else the first that is there of: `../lib/parlor/jolie` seen from the
    /// program, `parlor/jolie` in the user's own data folder.
    ///
    /// # Errors
    /// One sentence, for whoever uploads a script in Jolie.
    pub fn find(
        named: Option<&Path>,
        program: &Path,
        variables: impl Fn(&str) -> Option<PathBuf>,
    ) -> Result<Self, String> {
        if let Some(named) = named {
            return Self::open(named);
        }
        let beside = program.parent().and_then(Path::parent).map(|folder| folder.join(BESIDE));
        let own = variables("XDG_DATA_HOME").or_else(|| Some(variables("HOME")?.join(".local/share")));
        let places: Vec<PathBuf> = beside.into_iter().chain(own.map(|own| own.join(OWN))).collect();
        match places.iter().find(|place| place.exists()) {
            Some(place) => Self::open(place),
            None => {
                let looked: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
                Err(format!(
                    "this server has no Jolie interpreter (looked in {}): whoever runs it gets one by `make jolie`",
                    looked.join(" and ")
                ))
            }
        }
    }

    /// Opens it.
    ///
    /// # Errors
    /// One sentence.
    pub fn open(path: &Path) -> Result<Self, String> {
        let fail = |why: String| {
            format!("the Jolie interpreter in {} cannot be used: {why}; `make jolie` makes it anew", path.display())
        };
        let path = path.canonicalize().map_err(|error| fail(error.to_string()))?;
        let read =
            |name: &str| std::fs::read_to_string(path.join(name)).map_err(|error| fail(format!("{name}: {error}")));
        let version = read("version")?;
        if version.trim() != VERSION {
            return Err(fail(format!("it is of version {}, this program needs {VERSION}", version.trim())));
        }
        let libraries: Vec<PathBuf> = read("libraries")?.lines().map(PathBuf::from).collect();
        let class_path = read("class-path")?.trim().to_owned();
        let inside = PARTS.into_iter().chain(class_path.split(':')).map(|part| path.join(part));
        if let Some(missing) = inside.chain(libraries.iter().cloned()).find(|part| !part.exists()) {
            return Err(fail(format!("{} is not there", missing.display())));
        }
        Ok(Self { path, libraries, class_path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JAR: &str = "lib/a.jar";

    fn make(folder: &Path) {
        for part in PARTS.into_iter().chain([JAR]) {
            std::fs::create_dir_all(folder.join(part).parent().unwrap()).unwrap();
            std::fs::write(folder.join(part), "").unwrap();
        }
        std::fs::write(folder.join("version"), format!("{VERSION}\n")).unwrap();
        std::fs::write(folder.join("libraries"), "/proc/self/exe\n").unwrap();
        std::fs::write(folder.join("class-path"), format!("{JAR}\n")).unwrap();
    }

    #[test]
    fn the_named_folder_comes_first_then_the_one_beside_the_program_then_the_users_own() {
        let at = tempfile::tempdir().unwrap();
        let at = at.path().canonicalize().unwrap();
        let (named, beside, own) = (at.join("named"), at.join("usr/lib/parlor/jolie"), at.join("data/parlor/jolie"));
        let (program, data) = (at.join("usr/bin/parlor"), at.join("data"));
        let find = |name: Option<&Path>| {
            let variables = |name: &str| (name == "XDG_DATA_HOME").then(|| data.clone());
            Home::find(name, &program, variables).map(|home| home.path)
        };
        assert!(find(None).unwrap_err().contains("make jolie"));
        make(&own);
        assert_eq!(find(None), Ok(own));
        make(&beside);
        assert_eq!(find(None), Ok(beside));
        assert!(find(Some(&named)).unwrap_err().contains("named"), "a named one is not replaced by another");
        make(&named);
        assert_eq!(find(Some(&named)), Ok(named));
    }

    #[test]
    fn a_folder_that_lacks_a_part_or_is_of_another_version_is_refused_by_name() {
        let at = tempfile::tempdir().unwrap();
        for part in PARTS.iter().chain(&["version", "libraries", "class-path", JAR]) {
            make(at.path());
            assert!(Home::open(at.path()).is_ok());
            std::fs::remove_file(at.path().join(part)).unwrap();
            let words = Home::open(at.path()).unwrap_err();
            assert!(words.contains(part) && words.contains("make jolie"), "{words}");
        }
        make(at.path());
        std::fs::write(at.path().join("version"), "0").unwrap();
        assert!(Home::open(at.path()).unwrap_err().contains("version 0"));
        make(at.path());
        std::fs::write(at.path().join("libraries"), "/nowhere/libc.so\n").unwrap();
        assert!(Home::open(at.path()).unwrap_err().contains("/nowhere/libc.so is not there"));
    }
}
